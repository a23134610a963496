#!/usr/bin/env python3
"""Every option and command that --help shows is in the man page and in the completion of bash and zsh, and a typo of one
is answered with it. python3 tests/cli/test_words.py BIN_DIR"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

BIN = os.path.abspath(sys.argv[1])
PROGRAMS = ["triage_tune", "triage_db", "triage_bench", "triage_worker"]


def run(*arguments):
    return subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)


def ask(program, *arguments):
    result = run(os.path.join(BIN, program), *arguments)
    if result.returncode != 0 or not result.stdout:
        raise SystemExit(f"{program} {arguments}: exit {result.returncode}: {result.stderr}")
    return result.stdout


def expect(condition, *what):
    if not condition:
        raise SystemExit(" ".join(str(w) for w in what))


def options_of(program):
    """What argp prints, which is made by glibc and not by our code: the usage has each option once."""
    return sorted(set(re.findall(r"\[--([a-z0-9-]+)", ask(program, "--usage"))) |
                  set(re.findall(r"^ {2,6}(?:-\S, +)?--([a-z0-9-]+)", ask(program, "--help"), re.M)))


def commands_of(program):
    if program != "triage_db":
        return []
    text = ask(program, "--help").split("explain  ")[0] + ask(program, "--help")
    return sorted(set(re.findall(r"^  ([a-z]+) ", text, re.M)))


def complete(program, script, words):
    """What bash offers behind these words."""
    array = " ".join(f"'{w}'" for w in [program] + words)
    shell = f'{script}\nCOMP_WORDS=({array}); COMP_CWORD={len(words)}; _{program}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    result = run("bash", "-u", "-c", shell)
    expect(result.returncode == 0, program, words, result.stderr)
    return result.stdout.split()


def check(program):
    man, bash, zsh = (ask(program, a) for a in ("--man", "--completion=bash", "--completion=zsh"))
    options, commands = options_of(program), commands_of(program)
    plain = man.replace("\\-", "-")
    offered = complete(program, bash, ["--"])
    for option in options:
        expect(re.search(rf"^\.B (-., )?--{option}\b", plain, re.M), program, "man page has no", option)
        expect(f"--{option}" in offered, program, "bash does not offer", option, offered)
        expect(f"'--{option}[" in zsh or re.search(rf"'--{option}=-?\[", zsh), program, "zsh does not offer", option)
    for command in commands:
        expect(re.search(rf"^\.B {command}$", plain, re.M), program, "man page has no", command)
        expect(command in complete(program, bash, [""]), "bash does not offer", command)
        expect(re.search(rf"[( ]{command}[ )]", zsh.split("1:command:")[1]), "zsh does not offer", command)
    if shutil.which("zsh"):
        expect(run("zsh", "-n", "/dev/stdin").returncode == 0, "zsh")
    if shutil.which("man"):
        result = subprocess.run(["man", "--warnings", "-l", "-"], input=man, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)
        expect(result.returncode == 0 and not result.stderr, program, "man:", result.stderr)
    return len(options), len(commands)


def refuse(message, program, *arguments):
    result = run(os.path.join(BIN, program), *arguments)
    expect(result.returncode == 64, program, arguments, "exit", result.returncode)
    expect(message in result.stderr and result.stderr.count("\n") == 1, program, arguments, result.stderr)


def check_pipes():
    """What one machine exports through a pipe, another imports from it: the same set of rows, and no file between."""
    with tempfile.TemporaryDirectory() as home:
        env = dict(os.environ, HOME=home, TMPDIR=home, TRIAGE_LOCK_DIR=home)
        env.pop("XDG_DATA_HOME", None)
        shell = subprocess.run(["sh", "-euc", """
            "$1/triage_tune" --shape 64,64,64 --sparsity 0.5 --block 16 --device host --budget 1 --db a.db -q >/dev/null
            "$1/triage_db" export - --db a.db | "$1/triage_db" import - --db b.db
            for which in default best 1; do
                "$1/triage_tune" --shape 64,64,64 --sparsity 0.5 --block 16 --device host --db a.db --emit $which >$which.c
            done
            grep -q triage_kernel default.c && cmp default.c best.c && cmp best.c 1.c # the default is all that was tried
            code=0
            "$1/triage_tune" --shape 64,64,64 --sparsity 0.5 --block 16 --device host --db a.db --emit 99 2>err || code=$?
            [ $code -eq 65 ] && grep -q "knows 1 right kernels" err
            [ "$("$1/triage_db" hash a.db)" = "$("$1/triage_db" hash b.db)" ]
            "$1/triage_db" export a.jsonl --db a.db
            { printf '\\357\\273\\277' && sed 's/$/\r/' a.jsonl; } | "$1/triage_db" import - --db c.db # as Windows writes it
            [ "$("$1/triage_db" hash a.db)" = "$("$1/triage_db" hash c.db)" ]
            { cat a.jsonl && echo nonsense; } | "$1/triage_db" import - --db d.db 2>err || [ $? -eq 65 ]
            grep -q "the standard input: line [0-9]* refused" err && ! grep -q /proc err
            ls -d triage-export-* 2>/dev/null || true""", "sh", BIN], cwd=home, env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, timeout=600)
        expect(shell.returncode == 0, "export - | import -:", shell.stdout, shell.stderr)
        expect("triage-export" not in shell.stdout and " 0 added" not in shell.stdout, shell.stdout)
    refuse("--trust needs a file", "triage_db", "import", "-", "--trust", "0" * 64)


def main():
    options, commands = zip(*(check(p) for p in PROGRAMS))
    expect(options[0] >= 40 and options[1] >= 30 and options[2] >= 20 and commands[1] >= 15, options, commands)
    # what a command has no meaning for is not offered behind it
    bash = ask("triage_db", "--completion=bash")
    expect("--max-age" in complete("triage_db", bash, ["gc", "--m"]), "gc --max-age")
    expect("--max-age" not in complete("triage_db", bash, ["list", "--m"]), "list --max-age")
    expect(complete("triage_tune", ask("triage_tune", "--completion=bash"), ["--layout", "r"]) == ["row"], "--layout r")
    refuse("there is no option --sparsty; did you mean --sparsity?", "triage_tune", "--sparsty", "0.5")
    refuse("there is no option --agianst; did you mean --against?", "triage_bench", "--agianst=none")
    refuse("there is no option --zzzzzzzz; --help lists all", "triage_db", "--zzzzzzzz")
    refuse('unknown command "lsit"; did you mean list?', "triage_db", "lsit")
    refuse('unknown command "frobnicate": not one of list, show,', "triage_db", "frobnicate")
    refuse("--dtype bf61 is not one of f16, bf16, f32, e4m3; did you mean bf16?", "triage_tune", "--dtype", "bf61")
    refuse("--op atention is not one of bsr_gemm, attention, bsr_sddmm; did you mean attention?", "triage_tune", "--op", "atention")
    refuse("--op attn is not one of bsr_gemm, attention, bsr_sddmm; did you mean attention?", "triage_tune", "--op", "attn")
    refuse("two of them joined by +; did you mean causal?", "triage_tune", "--op", "attention", "--shape", "1,2,2,32,32,16",
           "--mask", "cauzal")
    refuse("has 6 numbers: M,N,K are expected, each 1 to 2147483647 (of another operation: --op)", "triage_tune", "--shape",
           "1,2,2,32,32,16")
    refuse("is not one of sm_80, sm_86, sm_89, sm_90a, sm_100a, sm_120a, host; did you mean sm_90a?", "triage_tune",
           "--shape", "64,64,64", "--sparsity", "0.5", "--compile-only", "--target", "sm_90")
    refuse("--emit bset: did you mean best?", "triage_tune", "--shape", "64,64,64", "--sparsity", "0.5", "--emit", "bset",
           "--device", "host")
    refuse("--against cublass is not one of cublas, cusparse, openblas, none; did you mean cublas?", "triage_bench",
           "--shape", "64,64,64", "--sparsity", "0.5", "--against", "cublass")
    # a line of the commands that argp has to break goes on at the margin, as if it were a command of its own
    listed = ask("triage_db", "--help").split("\n\n")[1]
    expect(not re.search(r"^\S", listed, re.M), listed)
    # what a problem needs comes before the rest
    text = ask("triage_tune", "--help")
    expect(0 < text.index("--shape=") < text.index("--dtype=") < text.index("--mask=") < text.index("--device="), text)
    expect(run(os.path.join(BIN, "triage_tune"), "--shape", "64,64,64", "--bias", "--sparsity", "0.5", "--activation", "relu",
               "--target", "host", "--dry-run", "-q").returncode == 0, "--bias without a word behind it")
    refuse("--bias maybe is not one of yes, no", "triage_tune", "--bias=maybe")
    same = [run(os.path.join(BIN, "triage_tune"), "--shape", shape, "--sparsity", "0.5", "--dtype", dtype, "--dry-run",
                "--target", "sm_90a", "-q").stdout for shape, dtype in (("512,512,512", "f16"), ("512x512x512", "fp16"))]
    expect(same[0] and same[0] == same[1], "512x512x512 fp16 is not 512,512,512 f16")
    check_pipes()
    print(f"{sum(options)} options and {sum(commands)} commands of {len(PROGRAMS)} programs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
