// A program that may be one of several processes: it links MPI where the library was built with it.
#include "atlas/dist/group.h"

int main() {
  const atlas::dist::Group group = atlas::dist::Group::world();
  return group.rank() == 0 && group.size() == 1 ? 0 : 1;
}
