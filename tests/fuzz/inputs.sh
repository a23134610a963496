# Sourced by tests/fuzz.sh and replay.sh, in the project's root: what a target begins with.

fuzz_targets="pattern import key lua wire frames cache"

# inputs_of TARGET SEEDS: its folders of inputs; SEEDS is where fuzz_seeds wrote.
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
