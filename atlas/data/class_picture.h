// Pictures of classes: a color for each, class maps laid over photographs, legends, and sheets of truth, prediction and
// mistakes.
// Not in atlas.h: include it by name.
#pragma once

#include <string>
#include <vector>

#include "atlas/data/canvas.h"

namespace atlas::inline ATLAS_ABI::data {

/// The color of class `index`: bright ones that differ, for as many classes as one likes. Class 0 of a set that begins
/// with a background is dark.
Color class_color(int64_t index, bool background_first);
/// True when the first class says that it is nothing in particular: "background", "other", "unlabeled", "void".
bool has_background(const std::vector<std::string>& classes);
/// The colors of all classes.
std::vector<Color> class_colors(const std::vector<std::string>& classes);

/// A class map as a picture, or laid over a photograph.
/// @param map    uint8 or int64 [H, W]
/// @param photo  uint8 [H, W, 3], or undefined: colors alone
/// @param cover  of the colors over the photograph, in [0, 1]
/// @return uint8 [H, W, 3]; pixels of no class stay as the photograph, or gray
/// @throws Error when map and photograph differ in size.
Tensor colored(const Tensor& map, const std::vector<Color>& colors, const Tensor& photo = {}, double cover = 0.55);

/// One entry of a legend.
struct LegendEntry {
  std::string text;
  Color color;
};
/// Entries side by side, in as many lines as it takes.   -> uint8 [H, width, 3]
Tensor legend(const std::vector<LegendEntry>& entries, int64_t width);

/// What one row of a sheet shows.
struct ClassPicture {
  Tensor photo;              ///< uint8 [H, W, 3]
  Tensor truth, prediction;  ///< uint8 or int64, [H, W] or another size, resized by the nearest pixel
  int64_t ignored = 255;     ///< class of the pixels that do not count
};

/// Rows of photograph, truth, prediction and mistakes (red; gray where ignored), with a legend of the classes that
/// occur.
/// @param cell  width of each picture
Tensor class_sheet(const std::vector<ClassPicture>& rows, const std::vector<std::string>& classes,
                   const std::string& title, int64_t cell = 300);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/class_picture-inl.h"
#endif
