/* font.c: a small fixed-width face for contact sheets, drawn for kadr: 5 x 8 points a letter, of
 * which the last row lies below the line. It knows ASCII; anything else is an empty box. Real
 * typesetting is the business of the board's PDF. */
#include "image/font.h"
#include "base/utf8.h"
#include <string.h>

#define BAND 12 /* letters side by side in the drawing */
#define BOX 0x7F

/* clang-format off */
static const char *const drawing[8][FONT_HEIGHT] = {
    {"        #    # #   # #    #   ##  #  ##     #      #   #                ",
     "        #    # #   # #   #### ##  # #  #    #     #     #     #     #   ",
     "        #    # #  ##### # #      #  #  #    #    #       #  # # #   #   ",
     "        #          # #   ###    #    ##          #       #   ###  ##### ",
     "        #         #####   # #  #    # # #        #       #  # # #   #   ",
     "                   # #  ####  #  ## #  #          #     #     #     #   ",
     "        #          # #    #   #  ##  ## #          #   #                ",
     "                                                                        "},
    {"                      #  ###    #    ###   ###     #  #####   ##  ##### ",
     "                      # #   #  ##   #   # #   #   ##  #      #        # ",
     "                     #  #  ##   #       #     #  # #  ####  #        #  ",
     "       ###          #   # # #   #     ##    ##  #  #      # ####    #   ",
     "                   #    ##  #   #    #        # #####     # #   #   #   ",
     "  #          ##   #     #   #   #   #     #   #    #  #   # #   #   #   ",
     "  #          ##   #      ###   ###  #####  ###     #   ###   ###    #   ",
     " #                                                                      "},
    {" ###   ###                 #         #     ###   ###    #   ####   ###  ",
     "#   # #   #               #           #   #   # #   #  # #  #   # #   # ",
     "#   # #   #   #     #    #    #####    #      # # ### #   # #   # #     ",
     " ###   ####             #               #    #  # # # #   # ####  #     ",
     "#   #     #              #    #####    #    #   # ### ##### #   # #     ",
     "#   #    #          #     #           #         #     #   # #   # #   # ",
     " ###   ##     #     #      #         #      #    ###  #   # ####   ###  ",
     "                   #                                                    "},
    {"####  ##### #####  ###  #   #  ###    ### #   # #     #   # #   #  ###  ",
     "#   # #     #     #   # #   #   #      #  #  #  #     ## ## ##  # #   # ",
     "#   # #     #     #     #   #   #      #  # #   #     # # # ##  # #   # ",
     "#   # ####  ####  # ### #####   #      #  ##    #     # # # # # # #   # ",
     "#   # #     #     #   # #   #   #      #  # #   #     #   # #  ## #   # ",
     "#   # #     #     #   # #   #   #   #  #  #  #  #     #   # #  ## #   # ",
     "####  ##### #      #### #   #  ###   ##   #   # ##### #   # #   #  ###  ",
     "                                                                        "},
    {"####   ###  ####   #### ##### #   # #   # #   # #   # #   # #####  ###  ",
     "#   # #   # #   # #       #   #   # #   # #   # #   # #   #     #  #    ",
     "#   # #   # #   # #       #   #   # #   # #   #  # #   # #     #   #    ",
     "####  #   # ####   ###    #   #   # #   # # # #   #     #     #    #    ",
     "#     # # # # #       #   #   #   #  # #  # # #  # #    #    #     #    ",
     "#     #  #  #  #      #   #   #   #  # #  ## ## #   #   #   #      #    ",
     "#      ## # #   # ####    #    ###    #   #   # #   #   #   #####  ###  ",
     "                                                                        "},
    {"#      ###    #          #          #               #         ##        ",
     "#        #   # #          #         #               #        #          ",
     " #       #  #   #              ###  ####   ####  ####  ###   #     #### ",
     "  #      #                        # #   # #     #   # #   # ####  #   # ",
     "   #     #                     #### #   # #     #   # #####  #    #   # ",
     "    #    #                    #   # #   # #     #   # #      #     #### ",
     "    #  ###                     #### ####   ####  ####  ###   #        # ",
     "                  #####                                            ###  "},
    {"#       #      #  #      ##                                             ",
     "#                 #       #                                             ",
     "####   ##     ##  #  #    #   ## #  ####   ###  ####   #### # ##   #### ",
     "#   #   #      #  # #     #   # # # #   # #   # #   # #   # ##  # #     ",
     "#   #   #      #  ##      #   # # # #   # #   # #   # #   # #      ###  ",
     "#   #   #      #  # #     #   # # # #   # #   # ####   #### #         # ",
     "#   #  ###  #  #  #  #   ###  # # # #   #  ###  #         # #     ####  ",
     "             ##                                 #         #             "},
    {" #                                           ##   #   ##          ##### ",
     " #                                          #     #     #         #   # ",
     "####  #   # #   # #   # #   # #   # #####   #     #     #    #  # #   # ",
     " #    #   # #   # #   #  # #  #   #    #   #      #      #  # ##  #   # ",
     " #    #   # #   # # # #   #   #   #   #     #     #     #         #   # ",
     " #    #   #  # #  # # #  # #   ####  #      #     #     #         #   # ",
     "  ##   ####   #    # #  #   #     # #####    ##   #   ##          ##### ",
     "                               ###                                      "},
};
/* clang-format on */

void font_draw(struct image *im, int x, int y, int zoom, const uint8_t rgb[3], const char *text,
               size_t size) {
    const char *end = text + size;
    for (; text < end; x += FONT_STEP * zoom) {
        uint32_t c = utf8_next(&text, end);
        c = c < ' ' || c > BOX ? BOX - ' ' : c - ' ';
        const char *const *band = drawing[c / BAND];
        for (int row = 0; row < FONT_HEIGHT; row++)
            for (int column = 0; column < FONT_WIDTH; column++)
                if (band[row][(int)(c % BAND) * FONT_STEP + column] == '#')
                    image_fill(im, x + column * zoom, y + row * zoom, zoom, zoom, rgb);
    }
}

size_t font_letters(const char *text, size_t size) {
    const char *end = text + size;
    size_t count = 0;
    for (; text < end; count++) utf8_next(&text, end);
    return count;
}
