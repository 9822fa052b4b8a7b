// The transport over MPI: the only file that includes mpi.h. Without MPI (CMake: ATLAS_WITH_MPI) a process is alone.
//
// Every wait is a loop of MPI_Test with a deadline, so that a rank that hangs ends all, and so that processes that
// share a core leave it to those that compute. Who waits tells the others so from time to time: to blame is who does
// not.
#include "atlas/dist/group.h"

#ifdef ATLAS_COMPILED_LIB

#if ATLAS_WITH_MPI
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <fmt/core.h>
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "atlas/core/failure.h"
#include "atlas/dist/repeat.h"
#endif

namespace atlas::inline ATLAS_ABI::dist::detail {

#if ATLAS_WITH_MPI

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Seconds that a rank may let the others wait. Together with what comes after them, less than a minute.
double timeout() {
  if (const char* text = std::getenv("ATLAS_DIST_TIMEOUT")) {
    char* end = nullptr;
    const double seconds = std::strtod(text, &end);
    check(end != text && *end == '\0' && seconds > 0, "dist", "ATLAS_DIST_TIMEOUT needs a number of seconds, got '{}'",
          text);
    return seconds;
  }
  return 50;
}

MPI_Datatype type_of(DType dtype) {
  if (dtype == bfloat16) return MPI_UINT16_T;  // with operations of our own
  return dtype == float32 ? MPI_FLOAT : dtype == float64 ? MPI_DOUBLE : MPI_INT64_T;
}

/// An operation on bfloat16, which MPI does not know: in float32, rounded. Either order of operands gives the same
/// bits.
template <Reduce how>
void fold_bf16(void* from, void* into, int* count, MPI_Datatype*) {
  const auto* a = static_cast<const bf16*>(from);
  auto* b = static_cast<bf16*>(into);
  for (int i = 0; i < *count; ++i) {
    const auto x = static_cast<float>(a[i]), y = static_cast<float>(b[i]);
    b[i] = bf16(how == Reduce::sum ? x + y : how == Reduce::max ? std::max(x, y) : std::min(x, y));
  }
}
MPI_Op made(MPI_User_function* fold) {
  MPI_Op op = MPI_OP_NULL;
  MPI_Op_create(fold, 1, &op);
  return op;
}

MPI_Op operation(Reduce how, DType dtype) {
  if (dtype != bfloat16) return how == Reduce::sum ? MPI_SUM : how == Reduce::max ? MPI_MAX : MPI_MIN;
  static const MPI_Op sum = made(fold_bf16<Reduce::sum>), max = made(fold_bf16<Reduce::max>),
                      min = made(fold_bf16<Reduce::min>);
  return how == Reduce::sum ? sum : how == Reduce::max ? max : min;
}

class Mpi;

/// An MPI request.
class Request final : public Running {
 public:
  explicit Request(Mpi& mpi) : mpi_(mpi) {}
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  bool test() override;
  void wait() override;
  MPI_Request request = MPI_REQUEST_NULL;
  const char* op = "all_reduce";

 private:
  Mpi& mpi_;
};

/// What a rank tells the others, for whoever waits.
enum Notice : int { kWaits, kBusy, kEnds };
constexpr int kNotices[] = {kWaits, kBusy, kEnds};  // MPI may read them long after they were sent
constexpr double kBusyFor = 20;                    // times the timeout: what is busy for longer hangs

class Mpi final : public Transport {
 public:
  Mpi() : timeout_(timeout()), beat_(std::min(5.0, timeout_ / 10)) {
    int had_before = 0;
    MPI_Initialized(&had_before);
    if (had_before == 0) MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &threads_);
    MPI_Query_thread(&threads_);
    MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
    MPI_Comm_dup(MPI_COMM_WORLD, &background_);
    MPI_Comm_dup(MPI_COMM_WORLD, &notices_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(background_, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(notices_, MPI_ERRORS_RETURN);  // one that cannot be told is found out by its silence
    MPI_Comm_rank(comm_, &rank);
    MPI_Comm_size(comm_, &size);
    MPI_Comm local;
    MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &local);
    MPI_Comm_rank(local, &local_rank);
    MPI_Comm_size(local, &local_size);
    MPI_Comm_free(&local);
    heard_.assign(static_cast<size_t>(size), Clock::time_point{});
    speaker_ = size;
  }

  // The bits are equal on all ranks: MPI requires "identical results" of an all-reduce (3.1, section 5.9.6).
  void all_reduce(void* data, int64_t count, DType dtype, Reduce how) override {
    run("all_reduce", [&](MPI_Request* r) {
      return MPI_Iallreduce(MPI_IN_PLACE, data, int_of(count), type_of(dtype), operation(how, dtype), comm_, r);
    });
  }

  std::unique_ptr<Running> start_all_reduce(void* data, int64_t count, DType dtype) override {
    auto running = std::make_unique<Request>(*this);
    check_code(MPI_Iallreduce(MPI_IN_PLACE, data, int_of(count), type_of(dtype), operation(Reduce::sum, dtype),
                              background_, &running->request),
               "all_reduce");
    return running;
  }

  void reduce_scatter(const void* from, void* to, int64_t count, DType dtype) override {
    run("reduce_scatter", [&](MPI_Request* r) {
      return MPI_Ireduce_scatter_block(from, to, int_of(count), type_of(dtype), operation(Reduce::sum, dtype), comm_,
                                       r);
    });
  }

  void all_gather(const void* from, void* to, int64_t bytes) override {
    run("all_gather", [&](MPI_Request* r) {
      return MPI_Iallgather(from, int_of(bytes), MPI_BYTE, to, int_of(bytes), MPI_BYTE, comm_, r);
    });
  }

  void broadcast(void* data, int64_t bytes, int root) override {
    constexpr int64_t kPiece = int64_t{1} << 30;
    for (int64_t at = 0; at < bytes; at += kPiece)
      run("broadcast", [&](MPI_Request* r) {
        return MPI_Ibcast(static_cast<char*>(data) + at, int_of(std::min(kPiece, bytes - at)), MPI_BYTE, root, comm_,
                          r);
      });
  }

  void barrier() override { barrier("barrier"); }

  bool complete(MPI_Request& request, const char* op) {
    int done = 0;
    check_code(MPI_Test(&request, &done, MPI_STATUS_IGNORE), op);
    return done != 0;
  }

  /// Returns when the request is complete; ends all processes when that takes too long.
  void wait(MPI_Request& request, const char* op) {
    const Clock::time_point start = Clock::now();
    struct Count {
      double& waited;
      Clock::time_point from;
      ~Count() { waited += seconds_since(from); }
    } const count{waited, start};
    for (int64_t turn = 0; !complete(request, op); ++turn) {
      if (turn < 1000) {
        sched_yield();
        continue;
      }
      usleep(50);
      keep_waiting(seconds_since(start), op);
    }
  }

  void keep_waiting(double seconds, const char* op) override {
    if (seconds < beat_ || seconds_since(told_) < beat_) return;
    told_ = Clock::now();
    hear();
    tell(kWaits);
    if (std::min(seconds, seconds_since(busy_)) >= timeout_) give_up(op);
  }

  [[noreturn]] void end_all(const std::string& line) override {
    hear();
    bool mine = speaker_ == size;
    if (mine) {  // of several that find it out at the same moment, the lowest
      tell(kEnds);
      listen(0.1);
      mine = speaker_ > rank;
    }
    if (!mine) listen(5);  // whoever speaks ends this process meanwhile
    std::fprintf(stderr, "%s\n", line.c_str());
    std::fflush(nullptr);
    MPI_Abort(MPI_COMM_WORLD, 1);
    std::_Exit(1);
  }

  /// The end of the process: waits for the other ranks, with the deadline of every other wait.
  void finish() {
    barrier("end");
    const Repeat deadline(timeout_, [&](double seconds) {
      if (seconds < timeout_) return true;
      std::fprintf(stderr, "[end] rank %d of %d: MPI_Finalize does not return after %g s\n", rank, size, timeout_);
      std::_Exit(1);
    });
    MPI_Finalize();
  }

  std::shared_ptr<void> busy() override {
    if (threads_ < MPI_THREAD_SERIALIZED) return nullptr;
    return std::make_shared<Repeat>(beat_, [this](double seconds) {
      tell(kBusy);
      int any = 0;
      MPI_Iprobe(MPI_ANY_SOURCE, 0, notices_, &any, MPI_STATUS_IGNORE);  // gives MPI time to send it
      return seconds < kBusyFor * timeout_;
    });
  }

 private:
  void barrier(const char* op) {
    run(op, [&](MPI_Request* r) { return MPI_Ibarrier(comm_, r); });
  }

  template <class F>
  void run(const char* op, const F& start) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_code(start(&request), op);
    wait(request, op);
  }

  int int_of(int64_t n) const {
    check(n <= std::numeric_limits<int>::max(), "dist", "rank {} of {}: {} are too much for one message", rank, size,
          n);
    return static_cast<int>(n);
  }

  void check_code(int code, const char* op) const {
    if (code == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = {};
    int length = 0;
    MPI_Error_string(code, text, &length);
    throw Failure(fmt::format("[{}] rank {} of {}: {}", op, rank, size, text));
  }

  void tell(Notice what) {
    const std::lock_guard lock(notices_mutex_);
    for (int other = 0; other < size; ++other) {
      if (other == rank) continue;
      MPI_Request sent = MPI_REQUEST_NULL;
      if (MPI_Isend(&kNotices[what], 1, MPI_INT, other, 0, notices_, &sent) == MPI_SUCCESS) MPI_Request_free(&sent);
    }
  }
  /// Takes in what the others told.
  void hear() {
    const std::lock_guard lock(notices_mutex_);
    for (;;) {
      int there = 0, what = 0;
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, 0, notices_, &there, &status);
      if (there == 0) return;
      MPI_Recv(&what, 1, MPI_INT, status.MPI_SOURCE, 0, notices_, MPI_STATUS_IGNORE);
      heard_[static_cast<size_t>(status.MPI_SOURCE)] = Clock::now();
      if (what == kBusy) busy_ = Clock::now();
      if (what == kEnds) speaker_ = std::min(speaker_, status.MPI_SOURCE);
    }
  }
  void listen(double seconds) {
    for (const Clock::time_point start = Clock::now(); seconds_since(start) < seconds; usleep(1000)) hear();
  }

  /// Ends all processes, with one line that names those who neither wait nor are busy.
  [[noreturn]] void give_up(const char* op) {
    std::string missing;
    for (int other = 0; other < size; ++other)
      if (other != rank && seconds_since(heard_[static_cast<size_t>(other)]) > timeout_ / 2)
        missing += fmt::format("{}{}", missing.empty() ? "" : ", ", other);
    end_all(
        fmt::format("[{}] rank {} of {} waited {} s for rank {}: all processes are ended (ATLAS_DIST_TIMEOUT sets "
                    "the seconds)",
                    op, rank, size, timeout_, missing.empty() ? "(all wait: do they call the same?)" : missing));
  }

  double timeout_, beat_;  // seconds; between two notices
  int threads_ = MPI_THREAD_SINGLE;
  // What runs in the background has a communicator of its own: its order among the other operations may then differ
  // from rank to rank, as it does where ranks compute different things.
  MPI_Comm comm_ = MPI_COMM_NULL, background_ = MPI_COMM_NULL, notices_ = MPI_COMM_NULL;
  std::mutex notices_mutex_;              // of what a thread of Beats does as well
  Clock::time_point told_{}, busy_{};     // when this rank told last that it waits; when one last told that it is busy
  std::vector<Clock::time_point> heard_;  // when each rank told something last
  int speaker_ = 0;                       // the lowest rank that is about to end all; size: none
};

bool Request::test() { return request == MPI_REQUEST_NULL || mpi_.complete(request, op); }
void Request::wait() {
  if (request != MPI_REQUEST_NULL) mpi_.wait(request, op);
}

/// The end of the process: the others must not wait for one that failed.
void finish(Mpi& mpi, int status) {
  int over = 0;
  MPI_Finalized(&over);
  if (over != 0) return;
  if (status != 0) {
    std::fflush(nullptr);
    MPI_Abort(MPI_COMM_WORLD, status);
  }
  try {
    mpi.finish();
  } catch (const Error& e) {
    mpi.end_all(e.what());
  }
}

bool launched() {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"})
    if (std::getenv(variable) != nullptr) return true;
  // Without either, MPI would end the process with a page of text.
  check(launched_processes() <= 1, "dist",
        "srun started {} processes that it does not introduce to each other: srun --mpi=pmix ... (srun --mpi=list says "
        "what it knows)",
        launched_processes());
  return false;
}

}  // namespace

std::shared_ptr<Transport> mpi_transport() {
  // Lives as long as the process.
  static std::shared_ptr<Mpi>* const world = [] {
    auto* made = new std::shared_ptr<Mpi>();
    if (!launched()) return made;
    *made = std::make_shared<Mpi>();
#ifdef __GLIBC__
    on_exit([](int status, void* mpi) { finish(*static_cast<Mpi*>(mpi), status); }, made->get());
#else
    std::atexit([] { finish(*std::static_pointer_cast<Mpi>(mpi_transport()), 0); });
#endif
    return made;
  }();
  return *world;
}

#else

std::shared_ptr<Transport> mpi_transport() {
  check(launched_processes() <= 1, "dist",
        "started as one of {} processes, but this build has no MPI: apt install libopenmpi-dev openmpi-bin, then run "
        "cmake and build again",
        launched_processes());
  return nullptr;
}

#endif

}  // namespace atlas::inline ATLAS_ABI::dist::detail

#endif
