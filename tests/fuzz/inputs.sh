# Sourced by tests/fuzz.sh and replay.sh, in the project's root: what a target begins with.
#
#   tests/fuzz/corpus/TARGET/        inputs made by hand, and what once was a fault
#   tests/fuzz/corpus/TARGET.tar.gz  what fuzzing found to reach code that nothing else reached (tests/fuzz.sh --keep)
#   SEEDS/TARGET/                    made by the encoders of this build (seeds.c)

fuzz_targets="pattern import key lua wire frames cache"

# make_seeds BIN SEEDS: what is made, and what is packed, in SEEDS/TARGET.
make_seeds() {
    "$1/fuzz_seeds" "$2"
    for packed in tests/fuzz/corpus/*.tar.gz; do
        [ ! -f "$packed" ] || tar -xzf "$packed" -C "$2"
    done
}

# inputs_of TARGET SEEDS: its folders of inputs.
inputs_of() {
    folders=""
    for folder in "tests/fuzz/corpus/$1" "$2/$1"; do
        [ ! -d "$folder" ] || folders="$folders $folder"
    done
    case $1 in
        pattern) folders="$folders tests/data/patterns" ;;
        lua) folders="$folders tests/data/spaces" ;;
    esac
    echo "$folders"
}
