/* Guidance and blending. Expected are the first six numbers of diffusers' formula with its
 * rescale_noise_cfg (StableDiffusionXLPipeline, diffusers 0.42.1, torch 2.13, f32) on [1, 1, 4, 6].
 */
#include "draw/guide.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT 24

static void as_diffusers(void **unused) {
    (void)unused;
    static const struct {
        double scale, rescale;
        float want[6];
    } cases[] = {
        {6.5, 0, {-6.125f, -4.91666698f, 11.416667f, -15.5416679f, 0.791666746f, 17.125f}},
        {6.5,
         .7,
         {-2.48463821f, -1.99447155f, 4.63123035f, -6.30455828f, .321143717f, 6.94684505f}},
        {0, 1, {-1.9801774f, .792070985f, -.792070985f, 1.9801774f, .396035492f, -1.18810654f}},
        {1, .3, {-2.0f, -.333333373f, 1.33333337f, -1.33333349f, .333333343f, 2.0f}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        float u[COUNT], c[COUNT];
        for (int i = 0; i < COUNT; i++) {
            u[i] = (float)(i * 7 % 11 - 5) / 4;
            c[i] = (float)(i * 5 % 13 - 6) / 3;
        }
        guide(u, c, COUNT, cases[k].scale, cases[k].rescale);
        for (int i = 0; i < 6; i++)
            if (!(fabsf(u[i] - cases[k].want[i]) <= 1e-5f))
                fail_msg("case %zu, number %d: %.9g, not %.9g", k, i, (double)u[i],
                         (double)cases[k].want[i]);
    }
}

/* Where all numbers are the same there is no deviation to draw towards. */
static void flat_stays_finite(void **unused) {
    (void)unused;
    float u[COUNT] = {0}, c[COUNT] = {0};
    guide(u, c, COUNT, 6.5, 0.7);
    for (int i = 0; i < COUNT; i++) assert_true(u[i] == 0);
    u[0] = 3;
    guide(u, c, 1, 2, 1);
    assert_true(isfinite(u[0]));
}

/* The mask is one plane for all channels: 0 keeps what is known to the bit, 1 the latents. */
static void blending(void **unused) {
    (void)unused;
    float latents[COUNT], known[COUNT];
    static const float mask[COUNT / 4] = {0, 1, 0.5f, 0, 1, 0.25f};
    for (int i = 0; i < COUNT; i++) {
        latents[i] = (float)i + 0.1f;
        known[i] = -3 * (float)i - 0.7f;
    }
    guide_blend(latents, known, mask, 4, COUNT / 4);
    for (int i = 0; i < COUNT; i++) {
        float x = (float)i + 0.1f, k = -3 * (float)i - 0.7f, m = mask[i % 6];
        if (m == 0) assert_true(latents[i] == k);
        else if (m == 1) assert_true(latents[i] == x);
        else assert_true(fabsf(latents[i] - (m * x + (1 - m) * k)) <= 1e-5f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_diffusers),
        cmocka_unit_test(flat_stays_finite),
        cmocka_unit_test(blending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
