/* Man pages and completion, from the tables of options (options.h). */
#include <ctype.h>
#include <string.h>

#include "cli/common/common.h"
#include "cli/common/options.h"

/* ---- the man page --------------------------------------------------------------------------------------- */

/* roff's own characters, as what they are. */
static void put(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        const bool first = i == 0 || text[i - 1] == '\n';
        if (first && (text[i] == '.' || text[i] == '\''))
            fputs("\\&", stdout);
        if (text[i] == '-' || text[i] == '\\')
            fputs(text[i] == '-' ? "\\-" : "\\e", stdout);
        else
            putchar(text[i]);
    }
}

static void put_all(const char *text) {
    put(text, strlen(text));
}

/* The text before or behind the \v of argp's doc; the lines that are laid out stay so. */
static void put_doc(const char *text, size_t size) {
    bool laid_out = false;
    for (const char *line = text, *end = text + size; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const size_t length = (size_t)((stop ? stop : end) - line);
        const bool is_laid_out = length > 0 && line[0] == ' ';
        if (is_laid_out != laid_out)
            puts(is_laid_out ? ".nf" : ".fi");
        laid_out = is_laid_out;
        if (length == 0)
            puts(".PP");
        else
            put(line, length), putchar('\n');
        line += length + 1;
    }
    if (laid_out)
        puts(".fi");
}

static void put_option(const struct argp_option *o) {
    puts(".TP");
    fputs(".B ", stdout);
    if (isalnum(o->key & 0x7f) && o->key < 0x80)
        printf("\\-%c, ", o->key);
    fputs("\\-\\-", stdout);
    put_all(o->name);
    const bool is_optional = (o->flags & OPTION_ARG_OPTIONAL) != 0;
    if (o->arg) {
        fputs(is_optional ? "[=" : "=", stdout);
        put_all(o->arg);
        fputs(is_optional ? "]" : "", stdout);
    }
    putchar('\n');
    put_all(o->doc ? o->doc : "");
    putchar('\n');
}

static void put_commands(const tri_cli_program *program, const tri_cli_option *options, size_t count) {
    puts(".SH OPTIONS OF EACH COMMAND");
    for (size_t i = 0; program->commands[i]; i++) {
        printf(".TP\n.B %s\n", program->commands[i]);
        for (size_t j = 0; j < count; j++)
            if (!program->takes || program->takes(i, options[j].option->name))
                fputs("\\-\\-", stdout), put_all(options[j].option->name), putchar('\n');
    }
}

void tri_cli_print_man(const tri_cli_program *program) {
    tri_cli_option options[TRI_CLI_OPTIONS_MAX];
    const size_t count = tri_cli_options_of(options, program);
    const char *doc = program->doc, *behind = strchr(doc, '\v'), *heading = NULL;
    printf(".TH %s 1 \"\" \"triage %s\" \"triage\"\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n%s%s\n",
           program->name, TRIAGE_VERSION, program->name, program->about, program->name,
           count ? "[OPTION...] " : "", program->arguments ? program->arguments : "");
    puts(".SH DESCRIPTION");
    put_doc(doc, behind ? (size_t)(behind - doc) : strlen(doc));
    puts(".SH OPTIONS");
    for (size_t i = 0; i < count; i++) {
        if (options[i].heading && (!heading || strcmp(heading, options[i].heading) != 0))
            fputs(".SS ", stdout), put_all(options[i].heading), putchar('\n');
        heading = options[i].heading;
        put_option(options[i].option);
    }
    puts(".TP\n.B \\-?, \\-\\-help\nAll options in short.\n.TP\n.B \\-\\-usage\nOnly their names.\n.TP\n.B "
         "\\-V, "
         "\\-\\-version\nThe version.");
    if (program->commands)
        put_commands(program, options, count);
    if (behind) {
        puts(".SH NOTES");
        put_doc(behind + 1, strlen(behind + 1));
    }
    puts(".SH SEE ALSO\n.BR triage_tune (1),\n.BR triage_db (1),\n.BR triage_bench (1),\n.BR triage_worker "
         "(1)");
}

/* ---- bash ------------------------------------------------------------------------------------------------- */

static void put_words_case(const struct argp_option *o) {
    const char *list[TRI_CLI_WORDS_MAX];
    char words[TRI_CLI_WORDS_SIZE];
    const size_t count = tri_cli_words_of(list, words, o);
    if (!o->arg || (o->flags & OPTION_ARG_OPTIONAL)) /* a word behind it is not its argument */
        return;
    printf("        --%s) ", o->name);
    if (count == 0) {
        puts("COMPREPLY=($(compgen -f -- \"$cur\")); return ;;");
        return;
    }
    fputs("COMPREPLY=($(compgen -W \"", stdout);
    for (size_t i = 0; i < count; i++)
        printf("%s%s", i ? " " : "", list[i]);
    puts("\" -- \"$cur\")); return ;;");
}

/* The options of a command, or all with SIZE_MAX. */
static void put_names(const tri_cli_program *program, const tri_cli_option *options, size_t count,
                      size_t command) {
    for (size_t i = 0; i < count; i++)
        if (command == SIZE_MAX || !program->takes || program->takes(command, options[i].option->name))
            printf("--%s ", options[i].option->name);
    fputs("--help --usage --version", stdout);
}

void tri_cli_print_bash(const tri_cli_program *program) {
    tri_cli_option options[TRI_CLI_OPTIONS_MAX];
    const size_t count = tri_cli_options_of(options, program);
    printf("# bash completion for %s\n_%s() {\n    local cur=${COMP_WORDS[COMP_CWORD]} "
           "prev=${COMP_WORDS[COMP_CWORD - 1]} word command=\n    COMPREPLY=()\n    case $prev in\n",
           program->name, program->name);
    for (size_t i = 0; i < count; i++)
        put_words_case(options[i].option);
    fputs("    esac\n    local options=\"", stdout);
    put_names(program, options, count, SIZE_MAX);
    puts("\"");
    if (program->commands) {
        puts("    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n        case $word in");
        for (size_t i = 0; program->commands[i]; i++) {
            printf("        %s) command=$word options=\"", program->commands[i]);
            put_names(program, options, count, i);
            puts("\" ;;");
        }
        fputs("        esac\n    done\n    if [[ -z $command && $cur != -* ]]; then\n        "
              "COMPREPLY=($(compgen -W \"",
              stdout);
        for (size_t i = 0; program->commands[i]; i++)
            printf("%s%s", i ? " " : "", program->commands[i]);
        puts("\" -- \"$cur\"))\n        return\n    fi");
    }
    printf("    if [[ $cur == -* ]]; then\n        COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n    "
           "else\n"
           "        COMPREPLY=($(compgen -f -- \"$cur\"))\n    fi\n}\ncomplete -F _%s %s\n",
           program->name, program->name);
}

/* ---- zsh -------------------------------------------------------------------------------------------------- */

/* Within '...[...]': what would end either is left out. */
static void put_zsh_text(const char *text) {
    for (size_t i = 0; text[i] && i < 70 && text[i] != '\n'; i++)
        putchar(strchr("[]':\\\"`$", text[i]) ? ' ' : text[i]);
}

static void put_zsh_option(const struct argp_option *o) {
    const char *list[TRI_CLI_WORDS_MAX];
    char words[TRI_CLI_WORDS_SIZE];
    const size_t count = tri_cli_words_of(list, words, o);
    /* "=-": the argument is in the same word */
    printf("    '--%s%s[", o->name, !o->arg ? "" : o->flags & OPTION_ARG_OPTIONAL ? "=-" : "=");
    put_zsh_text(o->doc ? o->doc : "");
    putchar(']');
    if (o->arg && count == 0)
        fputs(o->flags & OPTION_ARG_OPTIONAL ? "::" : ":", stdout), put_zsh_text(o->arg),
            fputs(":_files", stdout);
    for (size_t i = 0; i < count; i++)
        printf("%s%s%s",
               i                                ? " "
               : o->flags & OPTION_ARG_OPTIONAL ? "::value:("
                                                : ":value:(",
               list[i], i + 1 == count ? ")" : "");
    puts("' \\");
}

void tri_cli_print_zsh(const tri_cli_program *program) {
    tri_cli_option options[TRI_CLI_OPTIONS_MAX];
    const size_t count = tri_cli_options_of(options, program);
    printf("#compdef %s\n_arguments \\\n", program->name);
    for (size_t i = 0; i < count; i++)
        put_zsh_option(options[i].option);
    puts("    '--help[all options]' \\\n    '--usage[names of the options]' \\\n    '--version[the version]' "
         "\\");
    if (!program->commands) {
        puts("    && return 0");
        return;
    }
    fputs("    '1:command:(", stdout);
    for (size_t i = 0; program->commands[i]; i++)
        printf("%s%s", i ? " " : "", program->commands[i]);
    puts(")' \\\n    '*:file:_files' && return 0");
}
