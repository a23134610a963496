/* Tiles: bands of block rows, cut along the columns where a tile would become too large. What a tile reads of Y and X is read
 * for all of its blocks, so one with few rows and columns for its blocks is a cheap one. A solid tile has all rows of its band
 * and all columns from its first to its last, also those without a block, so that whole boxes of them can be copied. */
#include "op/bsr_sddmm/bsr_sddmm.h"

#include <stdlib.h>
#include <string.h>

/* A band while it is cut: how far each of its block rows has been dealt out. */
typedef struct band {
    const tri_pattern *pattern;
    const tri_sddmm_launch *shape;
    int64_t first;    /* its first block row */
    int32_t rows;     /* how many */
    int32_t *dealt;   /* [rows]: the next block */
    int32_t *ahead;   /* [rows]: the next block behind the tile that is made */
    int32_t *columns; /* [tile_cols]: of that tile */
    int32_t count;    /* of those */
} band;

/* The nearest column ahead, and how many rows have it; -1: none. */
static int32_t next_column(const band *of, int32_t *rows) {
    int32_t column = -1;
    *rows = 0;
    for (int32_t r = 0; r < of->rows; r++) {
        if (of->ahead[r] == of->pattern->row_ptr[of->first + r + 1])
            continue;
        const int32_t at = of->pattern->col_idx[of->ahead[r]];
        if (column < 0 || at < column)
            column = at, *rows = 0;
        *rows += at == column;
    }
    return column;
}

static void pass(band *of, int32_t column) {
    for (int32_t r = 0; r < of->rows; r++)
        if (of->ahead[r] < of->pattern->row_ptr[of->first + r + 1] &&
            of->pattern->col_idx[of->ahead[r]] == column)
            of->ahead[r]++;
}

/* How many columns the tile has with this one. */
static int32_t width_with(const band *of, int32_t column) {
    return of->shape->tile_solid > 0 && of->count > 0 ? column - of->columns[0] + 1 : of->count + 1;
}

/* The columns of the next tile; false: the band is done. */
static bool find_columns(band *of) {
    int32_t blocks = 0, rows = 0;
    of->count = 0;
    for (int32_t column = next_column(of, &rows); column >= 0; column = next_column(of, &rows)) {
        const int32_t width = width_with(of, column);
        if (width > of->shape->tile_cols || blocks + rows > of->shape->tile_blocks)
            return true;
        for (; of->count < width; of->count++)
            of->columns[of->count] = column - (width - 1 - of->count);
        blocks += rows;
        pass(of, column);
    }
    return blocks > 0;
}

/* Rows without a block in the tile are not in it, unless it is solid. */
static void write_tile(int32_t *out, band *of) {
    const tri_sddmm_launch *shape = of->shape;
    int32_t *rows = out + TRI_TILE_HEAD, *cols = rows + shape->tile_rows, *places = cols + shape->tile_cols,
            *blocks = places + shape->tile_blocks;
    int32_t row_count = 0, block_count = 0;
    memcpy(cols, of->columns, (size_t)of->count * sizeof *cols);
    for (int32_t r = 0; r < of->rows; r++) {
        if (of->dealt[r] == of->ahead[r] && shape->tile_solid == 0)
            continue;
        for (int32_t c = 0; of->dealt[r] < of->ahead[r]; of->dealt[r]++, block_count++) {
            while (cols[c] != of->pattern->col_idx[of->dealt[r]])
                c++;
            places[block_count] = row_count | c << 16;
            blocks[block_count] = of->dealt[r];
        }
        rows[row_count++] = (int32_t)(of->first + r);
    }
    out[0] = row_count, out[1] = of->count, out[2] = block_count;
}

/* ints NULL: they are only counted. */
static void add_tile(tri_sddmm_tiles *out, band *of) {
    const size_t size = TRI_TILE_INTS((size_t)of->shape->tile_rows, (size_t)of->shape->tile_cols,
                                      (size_t)of->shape->tile_blocks);
    if (out->ints)
        write_tile(out->ints + (size_t)out->count * size, of);
    out->count++;
}

/* The tiles that fill the band's last cluster up have no columns and no blocks: find_columns has left none. */
static void cut_band(tri_sddmm_tiles *out, band *of) {
    for (int32_t r = 0; r < of->rows; r++)
        of->dealt[r] = of->ahead[r] = of->pattern->row_ptr[of->first + r];
    while (find_columns(of))
        add_tile(out, of);
    while (of->shape->tile_solid > 0 && out->count % of->shape->tile_solid != 0)
        add_tile(out, of);
}

static void cut_all(tri_sddmm_tiles *out, band *of) {
    out->count = 0;
    for (of->first = 0; of->first < of->pattern->block_rows; of->first += of->shape->tile_rows) {
        const int64_t left = of->pattern->block_rows - of->first;
        of->rows = left < of->shape->tile_rows ? (int32_t)left : of->shape->tile_rows;
        cut_band(out, of);
    }
}

static triage_status check_shape(const tri_sddmm_launch *shape) {
    const int32_t low = shape->tile_rows, blocks = shape->tile_blocks;
    if (low >= 1 && low <= 32767 && shape->tile_solid >= 0 && shape->tile_cols >= 1 &&
        shape->tile_cols <= 32767 && blocks >= low)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DATA,
                    "a tile of %d block rows, %d block columns and %d blocks; allowed are 1 .. 32767 of the "
                    "first two, and at least as many blocks as rows",
                    low, shape->tile_cols, blocks);
}

triage_status tri_sddmm_tiles_make(tri_sddmm_tiles *out, const tri_pattern *pattern,
                                   const tri_sddmm_launch *shape) {
    band of = {.pattern = pattern, .shape = shape};
    triage_status status = TRIAGE_OK;
    *out = (tri_sddmm_tiles){0};
    TRI_TRY(check_shape(shape));
    TRI_TRY(tri_calloc(&of.dealt, (size_t)shape->tile_rows, sizeof *of.dealt));
    TRI_TRY(tri_calloc(&of.ahead, (size_t)shape->tile_rows, sizeof *of.ahead));
    TRI_TRY(tri_calloc(&of.columns, (size_t)shape->tile_cols, sizeof *of.columns));
    cut_all(out, &of);
    TRI_TRY(tri_calloc(&out->ints, out->count > 0 ? (size_t)out->count : 1,
                       sizeof *out->ints * TRI_TILE_INTS((size_t)shape->tile_rows, (size_t)shape->tile_cols,
                                                         (size_t)shape->tile_blocks)));
    cut_all(out, &of);
done:
    free(of.dealt);
    free(of.ahead);
    free(of.columns);
    return status;
}

void tri_sddmm_tiles_free(tri_sddmm_tiles *tiles) {
    free(tiles->ints);
    *tiles = (tri_sddmm_tiles){0};
}
