/* embed.c: turns a file into C source, so that data can be built into the library:
 *     embed NAME IN OUT
 * writes `const char NAME[]` (the bytes and a NUL) and `const size_t NAME_size` (without the NUL).
 * Runs while building, on the machine that builds. */
#include <stdio.h>

static int convert(const char *name, FILE *in, FILE *out) {
    unsigned long size = 0;
    int c;
    fprintf(out, "#include <stddef.h>\nextern const char %s[];\nextern const size_t %s_size;\n",
            name, name);
    fprintf(out, "const char %s[] =\n    \"", name);
    while ((c = getc(in)) != EOF) {
        if (c == '"' || c == '\\') fprintf(out, "\\%c", c);
        else if (c >= ' ' && c < 127 && c != '?') putc(c, out);
        else fprintf(out, "\\%03o", (unsigned)c);
        size++;
        if (c == '\n' || size % 64 == 0) fputs("\"\n    \"", out);
    }
    fprintf(out, "\";\nconst size_t %s_size = %lu;\n", name, size);
    return ferror(in) || ferror(out);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fputs("usage: embed NAME IN OUT\n", stderr);
        return 2;
    }
    FILE *in = fopen(argv[2], "rb"), *out = in ? fopen(argv[3], "wb") : NULL;
    if (!out) {
        perror(in ? argv[3] : argv[2]);
        if (in) fclose(in);
        return 1;
    }
    int bad = convert(argv[1], in, out);
    bad |= fclose(out) != 0;
    fclose(in);
    if (bad) fprintf(stderr, "embed: %s could not be converted\n", argv[2]);
    return bad;
}
