// A reader of XML text that goes through it once, from front to back, and keeps no tree: for annotation files.
// Not in atlas.h: include it by name.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::io {

/// What is called at the begin and at the end of every element.
struct XmlEvents {
  /// @param path  names from the root to the element, such as "annotation/object/name"
  std::function<void(std::string_view path)> open;
  /// @param text  what stands between the tags, without what inner elements hold, blanks at both ends removed, entities
  ///              replaced
  std::function<void(std::string_view path, std::string_view text)> close;
};

/// Reads a document in UTF-8: elements, text, CDATA, character references and the five entities that XML knows.
/// Attributes, comments, instructions and a document type without declarations are passed over. A document type that
/// declares entities is refused: a few bytes of them could ask for all memory.
/// @param name  of the file, for messages
/// @throws Error "[xml] NAME, byte N: what" for bytes that are not UTF-8, text that is cut off, tags that do not match,
///         unknown entities, and elements more than 32 deep.
void read_xml(std::string_view text, const std::string& name, const XmlEvents& events);

}  // namespace atlas::inline ATLAS_ABI::io

#ifndef ATLAS_COMPILED_LIB
#include "atlas/io/xml_reader-inl.h"
#endif
