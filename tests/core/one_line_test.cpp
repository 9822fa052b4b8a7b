// Messages are one line each, whatever names they quote.
#include "atlas/core/one_line.h"

#include <doctest/doctest.h>

#include "atlas/core/error.h"

using namespace atlas;

TEST_CASE("text stays on its line and does nothing to a terminal") {
  CHECK(on_one_line("") == "");
  CHECK(on_one_line("photos/übergröße.jpg") == "photos/übergröße.jpg");
  CHECK(on_one_line("a\nb\tc\x7f") == "a\\x0ab\\x09c\\x7f");
  CHECK(on_one_line("\x1b[31mred") == "\\x1b[31mred");
}

TEST_CASE("an error that quotes such a name has one line") {
  const std::string name = "new\nline\x1b[2J.jpg";
  try {
    fail("image", "{}: not a picture, {} bytes", name, 5);
  } catch (const Error& e) {
    CHECK(std::string(e.what()) == "[image] new\\x0aline\\x1b[2J.jpg: not a picture, 5 bytes");
  }
}
