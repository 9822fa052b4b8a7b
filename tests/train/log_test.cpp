// The two logs of a run: what stands in them, resuming, torn lines, errors.
#include "atlas/train/log.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "atlas/ops/arithmetic.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/print.h"

using namespace atlas;
using namespace atlas::train;
namespace fs = std::filesystem;

namespace {

struct Folder {
  Folder() : path(fs::temp_directory_path() / ("atlas-log-test-" + std::to_string(::getpid()))) {
    fs::create_directory(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string read(const char* name) const {
    std::ifstream in(path / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string str() const { return path.string(); }
  fs::path path;
};

LogRow row(int64_t epoch, double loss) { return {{"epoch", epoch}, {"loss", loss}, {"note", "a \"b\", c"}}; }

}  // namespace

TEST_CASE("rows go to both files at once") {
  const Folder folder;
  RunLog log(folder.str());
  log.write(row(1, 0.1));
  log.write(row(2, std::nan("")));
  // Flushed: readable while the log is open.
  CHECK(folder.read("log.csv") == "epoch,loss,note\n1,0.1,\"a \"\"b\"\", c\"\n2,,\"a \"\"b\"\", c\"\n");
  CHECK(folder.read("log.jsonl") ==
        "{\"epoch\":1,\"loss\":0.1,\"note\":\"a \\\"b\\\", c\"}\n{\"epoch\":2,\"loss\":null,\"note\":\"a \\\"b\\\", "
        "c\"}\n");
  const auto rows = read_log((folder.path / "log.jsonl").string());
  REQUIRE(rows.size() == 2);
  CHECK(std::get<double>(rows[0][1].second) == 0.1);
  CHECK(std::isnan(std::get<double>(rows[1][1].second)));
  CHECK(std::get<std::string>(rows[0][2].second) == "a \"b\", c");
}

TEST_CASE("resuming drops rows beyond the checkpoint and a torn line") {
  const Folder folder;
  {
    RunLog log(folder.str());
    for (int64_t e = 1; e <= 4; ++e) log.write(row(e, 1.0 / static_cast<double>(e)));
  }
  std::string whole_csv, whole_jsonl;
  whole_csv = folder.read("log.csv");
  whole_jsonl = folder.read("log.jsonl");
  std::ofstream(folder.path / "log.jsonl", std::ios::app) << "{\"epoch\":5,\"lo";
  {
    RunLog log(folder.str(), 2);
    REQUIRE(log.rows().size() == 2);
    CHECK(std::get<double>(log.rows()[1][1].second) == 0.5);
    for (int64_t e = 3; e <= 4; ++e) log.write(row(e, 1.0 / static_cast<double>(e)));
  }
  // An interrupted and an uninterrupted run leave the same files.
  CHECK(folder.read("log.csv") == whole_csv);
  CHECK(folder.read("log.jsonl") == whole_jsonl);
  // Nothing to keep: a new start. Nothing there: the same.
  CHECK(RunLog(folder.str()).rows().empty());
  CHECK(folder.read("log.csv").empty());
  fs::remove(folder.path / "log.jsonl");
  CHECK(RunLog(folder.str(), 7).rows().empty());
}

TEST_CASE("bad logs and rows get clear errors") {
  const Folder folder;
  const std::string path = (folder.path / "log.jsonl").string();
  CHECK_THROWS_WITH_AS(RunLog("/nowhere/at/all"),
                       "[log] cannot write /nowhere/at/all/log.csv: No such file or directory", Error);
  CHECK_THROWS_WITH_AS(read_log(path), ("[log] cannot open " + path + ": No such file or directory").c_str(), Error);
  std::ofstream(path) << "{\"epoch\":1}\n[3]\n";
  CHECK_THROWS_WITH_AS(RunLog(folder.str(), 1),
                       ("[log] " + path + " line 2: not a row that begins with its number").c_str(), Error);

  RunLog log(folder.str());
  log.write(row(3, 1));
  const std::string csv = (folder.path / "log.csv").string();
  CHECK_THROWS_WITH_AS(log.write(row(3, 1)), ("[log] row 3 comes after row 3 in " + csv).c_str(), Error);
  CHECK_THROWS_WITH_AS(
      log.write({{"epoch", int64_t{4}}, {"accuracy", 1.0}}),
      ("[log] the row has other columns than those in " + csv + " (was it written by another version? move it away)")
          .c_str(),
      Error);
  CHECK_THROWS_AS(log.write({{"epoch", 4.5}}), Error);
  CHECK(log.rows().size() == 1);
}
