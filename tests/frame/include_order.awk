# Follows the #include lines of the headers given, header-only, from each of them as the first that a program names, and
# prints where a text would come before one that it includes: a header's bodies (-inl.h) are included at its end, and
# what they include may include the header itself.
#
#   awk -f include_order.awk atlas/*/*.h
FNR == 1 { files[++count] = FILENAME; in_body = 0 }
/^namespace atlas/ { in_body = 1 }
/^ *# *include *"atlas\// {
  split($0, part, "\"")
  if (in_body)
    after[FILENAME] = after[FILENAME] " " part[2]
  else
    before[FILENAME] = before[FILENAME] " " part[2]
}

# Is `file` unseen (0), about to be read (1), or has its text come (2)?
function visit(file, list, n, i) {
  state[file] = 1
  n = split(before[file], list, " ")
  for (i = 1; i <= n; ++i) {
    if (state[list[i]] == 1 && !((file, list[i]) in told)) {
      print file ": its text comes before that of " list[i] ", which it includes, when a program includes " first " first"
      told[file, list[i]] = 1
    }
    if (state[list[i]] == 0) visit(list[i])
  }
  state[file] = 2
  n = split(after[file], list, " ")
  for (i = 1; i <= n; ++i)
    if (state[list[i]] == 0) visit(list[i])
}

END {
  for (f = 1; f <= count; ++f) {
    first = files[f]
    if (first ~ /-inl\.h$/) continue
    split("", state)
    visit(first)
  }
}
