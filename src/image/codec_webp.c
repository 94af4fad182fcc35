/* codec_webp.c: WebP through libwebp, libwebpdemux and libwebpmux.
 *
 * libwebp takes its working memory itself, so that is weighed against the ledger first; the pixels
 * lie in the ledger. One thread, so that the bytes written do not depend on the machine. */
#include "image/codec.h"
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>
#include <webp/encode.h>
#include <webp/mux.h>

static kadr_status damaged(const struct codec_input *in, const char *what, kadr_error *err) {
    return err_set(err, KADR_EIO, "%s: damaged WebP: %s", in->name, what);
}

static const char *reason(VP8StatusCode code) {
    switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY: return "no memory for it";
    case VP8_STATUS_NOT_ENOUGH_DATA: return "it ends too early";
    case VP8_STATUS_UNSUPPORTED_FEATURE: return "a feature that libwebp does not know";
    default: return "its data is broken";
    }
}

static kadr_status read_still(const struct codec_input *in, struct image *im, kadr_error *err) {
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config)) return damaged(in, "another version of libwebp", err);
    config.output.colorspace = im->channels == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = im->data;
    config.output.u.RGBA.stride = im->width * im->channels;
    config.output.u.RGBA.size = image_bytes(im);
    VP8StatusCode code = WebPDecode(in->data, in->size, &config);
    return code == VP8_STATUS_OK ? KADR_OK : damaged(in, reason(code), err);
}

/* The first frame on the canvas. */
static kadr_status read_animation(const struct codec_input *in, struct image *im, kadr_error *err) {
    WebPAnimDecoderOptions options;
    if (!WebPAnimDecoderOptionsInit(&options))
        return damaged(in, "another version of libwebp", err);
    options.color_mode = MODE_RGBA;
    WebPData data = {in->data, in->size};
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, &options);
    WebPAnimInfo info;
    uint8_t *canvas = NULL;
    int time;
    bool read = decoder && WebPAnimDecoderGetInfo(decoder, &info) &&
                info.canvas_width == (uint32_t)im->width &&
                info.canvas_height == (uint32_t)im->height &&
                WebPAnimDecoderGetNext(decoder, &canvas, &time);
    if (read) memcpy(im->data, canvas, image_bytes(im));
    WebPAnimDecoderDelete(decoder);
    return read ? KADR_OK : damaged(in, "its first frame cannot be read", err);
}

static kadr_status read_texts(const struct codec_input *in, struct codec_texts *texts,
                              kadr_error *err) {
    WebPData data = {in->data, in->size};
    WebPDemuxer *demuxer = WebPDemux(&data);
    if (!demuxer) return damaged(in, "its chunks do not fit together", err);
    WebPChunkIterator chunk;
    bool kept = true;
    if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) {
        kept = codec_exif_texts(chunk.chunk.bytes, chunk.chunk.size, texts);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    WebPDemuxDelete(demuxer);
    return kept ? KADR_OK : err_nomem(err, "a picture's texts", in->size);
}

kadr_status codec_webp_read(const struct codec_input *in, struct mem *m, struct image *im,
                            struct codec_texts *texts, kadr_error *err) {
    if (texts) return read_texts(in, texts, err);
    WebPBitstreamFeatures is;
    VP8StatusCode code = WebPGetFeatures(in->data, in->size, &is);
    if (code != VP8_STATUS_OK) return damaged(in, reason(code), err);
    kadr_status status = codec_check_size(in, (uint64_t)is.width, (uint64_t)is.height, err);
    uint64_t pixels = (uint64_t)is.width * (uint64_t)is.height;
    unsigned channels = is.has_alpha || is.has_animation ? 4 : 3;
    if (!status)
        status =
            codec_check_memory(in, m, pixels * channels, pixels * (is.has_animation ? 12 : 4), err);
    if (!status) status = image_make(im, m, is.width, is.height, (int)channels, err);
    if (!status) status = is.has_animation ? read_animation(in, im, err) : read_still(in, im, err);
    if (status) image_free(im);
    return status;
}

/* ---- Writing -------------------------------------------------------------------------------- */
static int take_bytes(const uint8_t *bytes, size_t size, const WebPPicture *picture) {
    struct buf *to = picture->custom_ptr;
    buf_add(to, bytes, size);
    return buf_ok(to);
}

static kadr_status encode(const struct image *im, int quality, struct buf *to, kadr_error *err) {
    WebPConfig config;
    WebPPicture picture;
    if (!WebPConfigInit(&config) || !WebPPictureInit(&picture))
        return err_set(err, KADR_EOTHER, "another version of libwebp than kadr was built with");
    config.lossless = quality == 0;
    config.exact = 1;
    config.quality = quality ? (float)quality : 75;
    picture.use_argb = config.lossless;
    picture.width = im->width;
    picture.height = im->height;
    picture.writer = take_bytes;
    picture.custom_ptr = to;
    int stride = im->width * im->channels;
    bool taken = im->channels == 4 ? WebPPictureImportRGBA(&picture, im->data, stride)
                                   : WebPPictureImportRGB(&picture, im->data, stride);
    bool done = taken && WebPEncode(&config, &picture);
    int code = (int)picture.error_code;
    WebPPictureFree(&picture);
    if (done) return KADR_OK;
    if (!buf_ok(to) || code == VP8_ENC_ERROR_OUT_OF_MEMORY)
        return err_nomem(err, "a WebP picture", image_bytes(im));
    return err_set(err, KADR_EUSAGE,
                   "a WebP of %d x %d pixels could not be written (libwebp's error %d); expected "
                   "at most %d each way",
                   im->width, im->height, code, WEBP_MAX_DIMENSION);
}

static kadr_status wrap(const struct buf *bare, const struct buf *exif, struct buf *out,
                        kadr_error *err) {
    WebPData image = {(const uint8_t *)bare->data, bare->size}, whole = {0};
    WebPData block = {(const uint8_t *)exif->data, exif->size};
    WebPMux *mux = WebPMuxNew();
    bool done = mux && WebPMuxSetImage(mux, &image, 0) == WEBP_MUX_OK &&
                WebPMuxSetChunk(mux, "EXIF", &block, 0) == WEBP_MUX_OK &&
                WebPMuxAssemble(mux, &whole) == WEBP_MUX_OK;
    if (done) buf_add(out, whole.bytes, whole.size);
    WebPDataClear(&whole);
    WebPMuxDelete(mux);
    return done && buf_ok(out) ? KADR_OK : err_nomem(err, "a WebP picture", bare->size);
}

kadr_status codec_webp_write(const struct image *im, struct mem *m, int quality,
                             const struct image_text *texts, size_t count, struct buf *out,
                             kadr_error *err) {
    struct buf bare, exif;
    buf_init(&bare, m);
    buf_init(&exif, m);
    codec_exif_write(texts, count, &exif);
    kadr_status status = encode(im, quality, exif.size ? &bare : out, err);
    if (!status && !buf_ok(&exif)) status = err_nomem(err, "a picture's texts", exif.size);
    if (!status && exif.size) status = wrap(&bare, &exif, out, err);
    buf_free(&bare);
    buf_free(&exif);
    return status;
}
