/* What is a token, and what is not: pairs of texts that a compiler sees alike, and pairs that it does not. */
#include "support/check.h"

#include <stdlib.h>
#include <string.h>

#include "render/tokens.h"

/* The tokens joined by '|'; a directive's # is "[#]", its end "[end]", a macro's parenthesis "[(]". */
static char *spell(const char *text, tri_token_reader *end) {
    tri_token_reader reader = {.at = text};
    tri_text out = TRI_TEXT_INIT;
    must(tri_text_append(&out, "", 0));
    for (;;) {
        must(tri_token_next(&reader));
        if (reader.kind == TRI_TOKEN_END)
            break;
        if (out.size)
            must(tri_text_append(&out, "|", 1));
        if (reader.kind == TRI_TOKEN_LINE_END)
            must(tri_text_append(&out, "[end]", 5));
        else
            must(tri_text_format(&out, reader.kind == TRI_TOKEN_CODE ? "%s" : "[%s]", reader.token.data));
    }
    tri_text_free(&reader.token);
    if (end)
        *end = reader;
    return out.data;
}

static void expect(const char *text, const char *tokens) {
    char *got = spell(text, NULL);
    if (strcmp(got, tokens) != 0)
        fail_msg("%s\n  gives  %s\n  not    %s", text, got, tokens);
    free(got);
}

static void code(void **state) {
    (void)state;
    expect("", "");
    expect(" \t\r\n\f\v", "");
    expect("int a=b+++c;", "int|a|=|b|++|+|c|;");
    expect("a+ +b a++b", "a|+|+|b|a|++|b");
    expect("f<<<grid,block>>>(x);", "f|<<<|grid|,|block|>>>|(|x|)|;");
    expect("a->*b ... .. . .5.e+3-x", "a|->*|b|...|.|.|.|.5.e+3|-|x");
    expect("0x1.8p-3f 1e+5 0xe+1 1'000'000ull 1.f", "0x1.8p-3f|1e+5|0xe+1|1'000'000ull|1.f");
    expect("A::b<c>::d x>>=1 a<=>b", "A|::|b|<|c|>|::|d|x|>>=|1|a|<=>|b");
    expect("a/b a/=b a/ *b", "a|/|b|a|/=|b|a|/|*|b");
    expect("caf\xc3\xa9 \\u00e9x a$", "caf\xc3\xa9|\\u00e9x|a$");
    expect("[[nodiscard]] @", "[|[|nodiscard|]|]|@");
}

static void comments(void **state) {
    (void)state;
    expect("a/*b*/c", "a|c");
    expect("a//b\nc", "a|c");
    expect("a//b\\\nstill\nc", "a|c");
    expect("a//b\\\r\nstill\r\nc", "a|c");
    expect("a/\\\n/ b\nc", "a|c");
    expect("a/\\\n* b *\\\n/c", "a|c");
    expect("/*/ a */b/**/c/***/d", "b|c|d");
    expect("a /* no end", "a");
    expect("a // no end", "a");
    expect("\"/*\" a \"*/\" '/*' b '//'", "\"/*\"|a|\"*/\"|'/*'|b|'//'");
    expect("// it's\na /* \" */ b", "a|b");
}

static void literals(void **state) {
    (void)state;
    expect("\"a  b\" \"a b\"", "\"a  b\"|\"a b\"");
    expect("\"\\\"//\" x '\\'' '\"'", "\"\\\"//\"|x|'\\''|'\"'");
    expect("\"a\\\\\" // b", "\"a\\\\\"");
    expect("\"a\\\nb\"", "\"ab\"");
    expect("L\"x\" L \"x\" u8\"y\" U'z' fL\"x\"", "L\"x\"|L|\"x\"|u8\"y\"|U'z'|fL|\"x\"");
    expect("\"x\"_s \"x\" _s", "\"x\"_s|\"x\"|_s");
    expect("\"no end // x\nb", "\"no end // x|b");
    expect("asm(\"mov.u32 %0, 1; // in PTX\\n\\t\" : \"=r\"(x)); // in C++",
           "asm|(|\"mov.u32 %0, 1; // in PTX\\n\\t\"|:|\"=r\"|(|x|)|)|;");
}

static void raw_strings(void **state) {
    (void)state;
    expect("R\"(a // b)\" // c", "R\"(a // b)\"");
    expect("R\"(a\\\nb)\" R\"(ab)\"", "R\"(a\\\nb)\"|R\"(ab)\"");
    expect("R\"x(a)\" b)x\" c", "R\"x(a)\" b)x\"|c");
    expect("u8R\"(\n# define x\n)\" y", "u8R\"(\n# define x\n)\"|y");
    expect("xR\"(a\" b", "xR|\"(a\"|b");
    expect("R\"(no end\nb", "R\"(no end|b");
    expect("R\"has space (a)\" b", "R\"has space (a)\"|b");
    expect("#define T R\"(a\nb)\" c\nd", "[#]|define|T|R\"(a\nb)\"|c|[end]|d");
}

static void directives(void **state) {
    (void)state;
    expect("#define a b\nc", "[#]|define|a|b|[end]|c");
    expect("#define a b \\\n c\nd", "[#]|define|a|b|c|[end]|d");
    expect("  /* x */ # /* y */ define a /* z\n */ b\nc", "[#]|define|a|b|[end]|c");
    expect("#if 1\n#endif", "[#]|if|1|[end]|[#]|endif|[end]");
    expect("#define f(x) x\n#define g (x)\n#define h/**/(x)",
           "[#]|define|f|[(]|x|)|x|[end]|[#]|define|g|(|x|)|[end]|[#]|define|h|(|x|)|[end]");
    expect("#define f\\\n(x) x", "[#]|define|f|[(]|x|)|x|[end]");
    expect("a # b\n#\nc", "a|#|b|[#]|[end]|c");
    expect("#include <a//b.h> // c\n#include \"x\\y.h\"\n#if a<b>c",
           "[#]|include|<a//b.h>|[end]|[#]|include|\"x\\y.h\"|[end]|[#]|if|a|<|b|>|c|[end]");
    expect("#pragma unroll 4 // all\nfor", "[#]|pragma|unroll|4|[end]|for");
    expect("#error don't /* end\nx", "[#]|error|don|'t /* end|[end]|x");
}

static void layout(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool layout, spaces;
    } cases[] = {
        {"int x = 1;", false, false},
        {"#define f(x) a##x\n", false, false},
        {"#define f(x) #x\n", false, true},
        {"int x = __LINE__;", true, false},
        {"#define f(x) g(# x)\n", false, true},
        {"// __LINE__\n", false, false},
        {"\"__LINE__\" \"#\"", false, false},
        {"#pragma once\n", false, false},
        {"#define f(x) %:x\n__LINE__", true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tri_token_reader end;
        free(spell(cases[i].text, &end));
        if (end.shows_layout != cases[i].layout || end.shows_spaces != cases[i].spaces)
            fail_msg("%s", cases[i].text);
    }
}

/* What a string of tokens shows: white space or none, however much, a comment or a line's end among it. */
static void spaces(void **state) {
    (void)state;
    static const char *const texts[] = {"a b+c", "a  b+c", "\t a /* x */b+c // y", "\n\na\nb+\\\nc"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        static const bool spaced[] = {true, true, false, false};
        tri_token_reader reader = {.at = texts[i]};
        for (size_t t = 0; t < sizeof spaced; t++) {
            must(tri_token_next(&reader));
            assert_int_equal(reader.spaced, spaced[t]);
        }
        tri_text_free(&reader.token);
    }
}

static void the_end_is_one(void **state) {
    (void)state;
    tri_token_reader reader = {.at = "#if 0"};
    static const tri_token_kind kinds[] = {TRI_TOKEN_DIRECTIVE, TRI_TOKEN_CODE, TRI_TOKEN_CODE,
                                           TRI_TOKEN_LINE_END,  TRI_TOKEN_END,  TRI_TOKEN_END};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        must(tri_token_next(&reader));
        assert_int_equal(reader.kind, kinds[i]);
    }
    tri_text_free(&reader.token);
}

/* Whatever is read, it ends, and every character of it was looked at: under ASan in CI. */
static void anything_ends(void **state) {
    (void)state;
    static const char letters[] = "ab1 \t\n\r\\\"'/*#<>():.R%+-=|&LuU8e";
    tri_random random;
    tri_random_seed(&random, 20261130);
    for (int i = 0; i < 20000; i++) {
        char text[40];
        const size_t size = tri_random_below(&random, sizeof text);
        for (size_t c = 0; c < size; c++)
            text[c] = letters[tri_random_below(&random, sizeof letters - 1)];
        text[size] = '\0';
        char *exact = strdup(text); /* its end is an end for ASan, too */
        assert_non_null(exact);
        free(spell(exact, NULL));
        free(exact);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code),        cmocka_unit_test(comments),       cmocka_unit_test(literals),
        cmocka_unit_test(raw_strings), cmocka_unit_test(directives),     cmocka_unit_test(layout),
        cmocka_unit_test(spaces),      cmocka_unit_test(the_end_is_one), cmocka_unit_test(anything_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
