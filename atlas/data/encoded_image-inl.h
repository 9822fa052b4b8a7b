// Bodies of encoded_image.h: a geometry's first moves become the weights of a resize, in the file's own rows and
// columns.
#pragma once

#include <algorithm>
#include <climits>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "atlas/data/encoded_image.h"
#include "atlas/data/picture_resizer.h"
#if ATLAS_WITH_LIBJPEG
#include "atlas/data/jpeg-inl.h"
#endif

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// Does f(); its errors are about the file.
template <class F>
auto about_file(const F& f) {
  try {
    return f();
  } catch (const Error& error) {
    throw UnreadableImage(error.what());
  }
}

/// A part of a picture, resized, and a part of that.
struct ResizedPart {
  Crop from, keep;
  Scale scale;
  size_t moves = 0;  // of the geometry that said so

  bool antialias() const { return scale.antialias_always || scale.height < from.height || scale.width < from.width; }
};

inline bool lies_inside(const Crop& part, int64_t height, int64_t width) {
  return part.top >= 0 && part.left >= 0 && part.height > 0 && part.width > 0 && part.top + part.height <= height &&
         part.left + part.width <= width;
}

/// What the first moves of a geometry come to, where they are [Crop,] Scale [, Crop] inside of a height x width
/// picture.
inline std::optional<ResizedPart> resized_part(const Geometry& geometry, int64_t height, int64_t width) {
  const std::vector<Geometry::Move>& moves = geometry.moves();
  ResizedPart part{{0, 0, height, width}, {}, {}};
  if (part.moves < moves.size())
    if (const Crop* from = std::get_if<Crop>(&moves[part.moves])) part.from = *from, ++part.moves;
  const Scale* scale = part.moves < moves.size() ? std::get_if<Scale>(&moves[part.moves]) : nullptr;
  if (scale == nullptr || scale->mode == Interpolation::nearest || !lies_inside(part.from, height, width)) return {};
  part.scale = *scale;
  part.keep = {0, 0, scale->height, scale->width};
  if (++part.moves < moves.size())
    if (const Crop* keep = std::get_if<Crop>(&moves[part.moves]))
      if (lies_inside(*keep, scale->height, scale->width)) part.keep = *keep, ++part.moves;
  return part;
}

/// Weights for `count` of the results from `first` on, of pixels that begin at `offset`.
inline ResampleTaps part_of_taps(const ResampleTaps& taps, int64_t first, int64_t count, int64_t offset) {
  ResampleTaps part;
  for (int64_t i = first; i < first + count; ++i) {
    const auto s = static_cast<size_t>(i);
    const auto w = taps.weight.begin() + taps.first[s];
    part.push_back(taps.begin[s] + offset, {w, w + taps.count[s]});
  }
  return part;
}

/// The same for the mirror image of `in` pixels and of the results.
inline ResampleTaps mirrored_taps(const ResampleTaps& taps, int64_t in) {
  ResampleTaps mirrored;
  for (int64_t i = taps.size() - 1; i >= 0; --i) {
    const auto s = static_cast<size_t>(i);
    const auto w = taps.weight.begin() + taps.first[s];
    std::vector<double> weights(w, w + taps.count[s]);
    std::reverse(weights.begin(), weights.end());
    mirrored.push_back(in - taps.begin[s] - taps.count[s], weights);
  }
  return mirrored;
}

/// First input that is used, and one behind the last.
inline std::pair<int64_t, int64_t> span_of(const ResampleTaps& taps) {
  int64_t first = taps.begin[0], end = 0;
  for (size_t i = 0; i < taps.begin.size(); ++i) {
    first = std::min(first, taps.begin[i]);
    end = std::max(end, taps.begin[i] + taps.count[i]);
  }
  return {first, end};
}

#if ATLAS_WITH_LIBJPEG
/// A resized part of a JPEG picture.
inline Tensor decode_resized(std::span<const uint8_t> bytes, const std::string& name, const ImageInfo& info,
                             const ResizedPart& part) {
  check_resized_picture(part.scale.height, part.scale.width);
  const auto axis = [&](int64_t in, int64_t out, int64_t offset, int64_t first, int64_t count) {
    return part_of_taps(atlas::detail::make_taps(in, out, part.scale.mode, part.antialias()), first, count, offset);
  };
  ResampleTaps rows = axis(part.from.height, part.scale.height, part.from.top, part.keep.top, part.keep.height);
  ResampleTaps columns = axis(part.from.width, part.scale.width, part.from.left, part.keep.left, part.keep.width);
  // From the upright picture to how it lies in the file: what oriented() does, the other way round.
  const int o = info.orientation;
  if (o >= 5) std::swap(rows, columns);
  if (o == 3 || o == 4 || o == 6 || o == 7) rows = mirrored_taps(rows, info.height);
  if (o == 2 || o == 3 || o == 7 || o == 8) columns = mirrored_taps(columns, info.width);
  const int64_t top = span_of(rows).first, left = span_of(columns).first, width = span_of(columns).second - left;
  PictureResizer resizer(part_of_taps(rows, 0, rows.size(), -top), part_of_taps(columns, 0, columns.size(), -left),
                         width);
  about_file([&] { decode_region(bytes, name, {info.width, info.height, top, left, width}, resizer); });
  return oriented(resizer.result(), o);
}
#endif

}  // namespace detail

ATLAS_INLINE std::shared_ptr<const EncodedImage> EncodedImage::read(const std::string& path, int64_t max_pixels) {
  Bytes bytes = detail::about_file([&] { return read_file(path, INT_MAX); });
  return std::make_shared<const EncodedImage>(std::move(bytes), path, max_pixels);
}

ATLAS_INLINE EncodedImage::EncodedImage(Bytes bytes, std::string name, int64_t max_pixels)
    : bytes_(std::move(bytes)),
      name_(std::move(name)),
      max_pixels_(max_pixels),
      info_(detail::about_file([&] { return inspect_image(bytes_, name_, max_pixels); })) {}

ATLAS_INLINE Tensor EncodedImage::decode() const {
  return detail::about_file([&] { return decode_image(bytes_, name_, max_pixels_); });
}

ATLAS_INLINE Tensor EncodedImage::moved(const Geometry& geometry) const {
#if ATLAS_WITH_LIBJPEG
  const auto part = detail::resized_part(geometry, height(), width());
  if (part && info_.format == ImageInfo::Format::jpeg) {
    const Tensor resized = detail::decode_resized(bytes_, name_, info_, *part);
    return Geometry({geometry.moves().begin() + static_cast<std::ptrdiff_t>(part->moves), geometry.moves().end()})
        .image(resized);
  }
#endif
  return geometry.image(decode());
}

}  // namespace atlas::inline ATLAS_ABI::data
