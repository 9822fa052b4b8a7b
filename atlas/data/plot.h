// Pictures a person can look at: line charts and contact sheets, as uint8 RGB tensors for write_png.
// Not in atlas.h: include it by name.
#pragma once

#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/data/canvas.h"

namespace atlas::inline ATLAS_ABI::data {

/// One curve of a chart. Points that are not finite are left out and break the line.
struct Series {
  std::string name;
  std::vector<double> x, y;
  bool dots = false;  ///< mark each point
};

/// Where the points of some series lie that are finite; from 0 to 1 where there are none.
struct Extent {
  double x_low, x_high, y_low, y_high;
};
/// @throws Error when a series has x and y of different lengths; op: whose message it is.
Extent extent_of(const std::vector<Series>& series, std::string_view op);

struct ChartOptions {
  std::string title = {}, x_label = {}, y_label = {};
  int64_t width = 900, height = 500;
  double y_min = std::numeric_limits<double>::quiet_NaN();  ///< NaN = from the data
  double y_max = std::numeric_limits<double>::quiet_NaN();
};

/// A line chart with axes, ticks, grid and legend.   -> uint8 [height,width,3]
/// @throws Error when a series has x and y of different lengths, or the chart is smaller than 200 x 150.
Tensor line_chart(const std::vector<Series>& series, const ChartOptions& options);

/// Pictures of equal width (narrower ones get a white border) one above the other.   uint8 [Hi,Wi,3] -> [sum Hi, max
/// Wi, 3]
Tensor stack_pictures(const std::vector<Tensor>& pictures);

/// Each pixel becomes a square of factor x factor pixels.   uint8 [H,W,3] -> [factor H, factor W, 3]
Tensor enlarged(const Tensor& image, int64_t factor);

/// One picture of a contact sheet.
struct Tile {
  Tensor image;                      ///< uint8 [H,W,3]
  std::vector<std::string> caption;  ///< lines below the image
  bool marked = false;               ///< caption and frame in red
};

/// Images in a grid with captions; small images are enlarged and large ones reduced to fit cells of `cell` x `cell`
/// pixels.
/// @return uint8 [H,W,3]
Tensor contact_sheet(const std::vector<Tile>& tiles, int64_t columns, const std::string& title = {},
                     int64_t cell = 112);

/// A tile that shows the true and the predicted class of an image; marked where they differ.
Tile prediction_tile(const Tensor& image, const std::string& truth, const std::string& predicted);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/plot-inl.h"
#endif
