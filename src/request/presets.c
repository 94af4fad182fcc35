/* presets.c: settings that go together. */
#include "request/request.h"

#include <string.h>

static const struct request_preset preset_table[] = {
    {"balanced",
     {{OPTION_width, "768"},
      {OPTION_height, "768"},
      {OPTION_steps, "12"},
      {OPTION_guidance, "6.5"},
      {OPTION_identity_scale, "0.5"}}},
    {"large",
     {{OPTION_width, "1024"},
      {OPTION_height, "1024"},
      {OPTION_steps, "12"},
      {OPTION_guidance, "6.5"},
      {OPTION_identity_scale, "0.5"}}},
    {"quality",
     {{OPTION_width, "1024"},
      {OPTION_height, "1024"},
      {OPTION_steps, "20"},
      {OPTION_guidance, "6.5"},
      {OPTION_identity_scale, "0.5"}}},
    {"fast",
     {{OPTION_width, "768"},
      {OPTION_height, "768"},
      {OPTION_steps, "8"},
      {OPTION_guidance, "6.5"},
      {OPTION_identity_scale, "0.5"}}},
    /* For few-step models and LoRAs, which are drawn without guidance. SDXL knows 512 as the size
     * of poor pictures: it is told a larger original. */
    {"ultra-fast",
     {{OPTION_width, "512"},
      {OPTION_height, "512"},
      {OPTION_original_width, "1024"},
      {OPTION_original_height, "1024"},
      {OPTION_steps, "4"},
      {OPTION_guidance, "1"},
      {OPTION_identity_scale, "0.5"}}},
};

const struct request_preset *request_presets(size_t *count) {
    *count = sizeof preset_table / sizeof *preset_table;
    return preset_table;
}

const struct request_preset *request_preset(const char *name) {
    for (size_t i = 0; i < sizeof preset_table / sizeof *preset_table; i++)
        if (!strcmp(preset_table[i].name, name)) return &preset_table[i];
    return NULL;
}

/* By the machine's memory, as people know it: a machine of 8 GB has a little less. */
const char *request_preset_for(uint64_t memory) {
    const double gib = (double)memory / (1 << 30);
    if (gib >= 20) return "quality";
    return gib >= 12 ? "large" : "balanced";
}
