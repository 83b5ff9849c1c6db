// Sizes of a convolution, in elements. A linear layer is one of images of one pixel with a kernel of one place.

#pragma once

#include <cstdint>

namespace {

struct Sizes {
    int64_t images, height, width, channels, filters, kernel_height, kernel_width, stride, padding, out_height,
        out_width;

    // Of an image in the list of spikes (sparse_conv.hpp): where its pixels' begin, and places with room to write more.
    int64_t starts() const { return height * width + 1; }
    int64_t room() const { return height * width * channels + 8; }
};

} // namespace
