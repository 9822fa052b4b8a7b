#include "atlas/core/nearest.h"

#include <doctest/doctest.h>

using namespace atlas;

TEST_CASE("edit distance: letters inserted, deleted, replaced or swapped with their neighbor") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("abc", "abc") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("depht", "depth") == 1);
  CHECK(edit_distance("ca", "abc") == 3);  // no letter is touched twice
}

TEST_CASE("nearest names: the nearest first, none when all are far away") {
  using Names = std::vector<std::string>;
  const Names known{"dim", "depths", "window", "drop_path_rate", "patch"};
  CHECK(nearest_names("dims", known) == Names{"dim"});
  CHECK(nearest_names("depht", known) == Names{"depths"});
  CHECK(nearest_names("drop_path", known) == Names{"drop_path_rate"});
  CHECK(nearest_names("transformer", known) == Names{});
  CHECK(nearest_names("", known) == Names{});
  CHECK(nearest_names("ab", {"abcd", "abc", "ab1", "ab"}) == Names{"ab", "abc", "ab1"});
  CHECK(known_names("windw", {"dim", "window"}) == "there are dim, window; did you mean window?");
  CHECK(known_names("x", {"dim", "window"}) == "there are dim, window");
  CHECK(known_names("x", {}) == "there are none");
  CHECK(did_you_mean("ab", {"abcd", "xyz", "abc"}) == "; did you mean abc or abcd?");
  CHECK(did_you_mean("x", {"dim", "window"}).empty());
  CHECK(did_you_mean("bath-size", {"batch-size", "image-size"}, "--") == "; did you mean --batch-size?");
}
