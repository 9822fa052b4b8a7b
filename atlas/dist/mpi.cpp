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
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <mutex>
#include <string>

#include "atlas/core/failure.h"
#include "atlas/dist/busy.h"
#include "atlas/dist/deadline.h"
#include "atlas/dist/patience.h"
#include "atlas/dist/repeat.h"
#endif

namespace atlas::inline ATLAS_ABI::dist::detail {

#if ATLAS_WITH_MPI

namespace {

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

constexpr int kNotices[] = {kWaits, kBusy, kAtEnd, kEnds};  // MPI may read them long after they were sent
constexpr double kStart = 15;                               // seconds: launchers start processes one after the other

int launched_rank() {
  for (const char* variable : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"})
    if (const char* text = std::getenv(variable)) return std::atoi(text);
  return 0;
}

/// What is wrong with it is said by the first rank, whose end ends the others.
double timeout_said_once() {
  try {
    return timeout();
  } catch (const Error&) {
    if (launched_rank() > 0) sleep(2);
    throw;
  }
}

class Mpi final : public Transport {
 public:
  Mpi()
      : timeout_(timeout_said_once()),
        beat_(std::min(5.0, timeout_ / 10)),
        busy_(beat_, kBusyFor * timeout_, [this] { tell(kBusy); }) {
    const double patience = std::max(timeout_, kStart);
    const Deadline deadline(patience, launched_rank(),
                            fmt::format("[start] rank {} of {} waited {} s for the start of the others",
                                        launched_rank(), launched_processes(), patience));
    int had_before = 0;
    MPI_Initialized(&had_before);
    if (had_before == 0) {
      MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &threads_);
      // Where Open MPI raises errors of operations that were started and are waited for later.
      MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    }
    MPI_Query_thread(&threads_);
    for (MPI_Comm* const comm : {&comm_, &background_, &notices_, &end_}) {
      check_code(MPI_Comm_dup(MPI_COMM_WORLD, comm), "start");
      MPI_Comm_set_errhandler(*comm, MPI_ERRORS_RETURN);
    }
    MPI_Comm_rank(comm_, &rank);
    MPI_Comm_size(comm_, &size);
    MPI_Comm local;
    check_code(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &local), "start");
    MPI_Comm_rank(local, &local_rank);
    MPI_Comm_size(local, &local_size);
    MPI_Comm_free(&local);
    others_ = Patience(rank, size, timeout_);
  }

  // The bits are equal on all ranks: MPI requires "identical results" of an all-reduce (3.1, section 5.9.6).
  void all_reduce(void* data, int64_t count, DType dtype, Reduce how) override {
    run("all_reduce", [&](MPI_Request* r) {
      return MPI_Iallreduce(MPI_IN_PLACE, data, int_of(count), type_of(dtype), operation(how, dtype), comm_, r);
    });
  }

  std::unique_ptr<Running> start_all_reduce(void* data, int64_t count, DType dtype) override {
    auto running = std::make_unique<Request>(*this);
    const std::lock_guard lock(mutex_);
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

  void barrier() override { barrier("barrier", comm_); }

  bool complete(MPI_Request& request, const char* op) {
    const std::lock_guard lock(mutex_);
    int done = 0;
    check_code(MPI_Test(&request, &done, MPI_STATUS_IGNORE), op);
    return done != 0;
  }

  /// Returns when the request is complete; ends all processes when that takes too long.
  void wait(MPI_Request& request, const char* op) {
    const Clock::time_point start = Clock::now();
    struct Wait {
      Mpi& mpi;
      double from;
      ~Wait() {
        mpi.busy_.goes_on();
        mpi.waits.add(from, clock_seconds());
      }
    } const here{*this, clock_seconds()};
    busy_.waits();
    for (int64_t turn = 0; !complete(request, op); ++turn) {
      if (turn < 1000)
        sched_yield();  // on a busy machine that may take long as well
      else
        usleep(50);
      keep_waiting(seconds_since(start), op);
    }
  }

  void keep_waiting(double seconds, const char* op) override { keep_waiting(seconds, op, timeout_); }

  std::shared_ptr<void> watch_start() override {
    if (threads_ < MPI_THREAD_SERIALIZED) return nullptr;
    return std::make_shared<Repeat>(beat_ / 5, [this](double seconds) {
      keep_waiting(seconds, "start", kBusyFor * timeout_);
      return true;
    });
  }

  [[noreturn]] void end_all(const std::string& line) override {
    hear();
    bool mine = others_.speaker() == size;
    if (mine) {  // of several that find it out at the same moment, the lowest
      tell(kEnds);
      listen(0.1);
      mine = others_.speaker() > rank;
    }
    if (!mine) listen(5);  // whoever speaks ends this process meanwhile
    std::fprintf(stderr, "%s\n", line.c_str());
    std::fflush(nullptr);
    MPI_Abort(MPI_COMM_WORLD, 1);
    std::_Exit(1);
  }

  /// The end of the process: waits for the other ranks, with the deadline of every other wait.
  void finish() {
    at_end_ = true;
    barrier("end", end_);
    busy_.stop();
    const Deadline deadline(
        timeout_, rank,
        fmt::format("[end] rank {} of {} waited {} s for MPI_Finalize to return", rank, size, timeout_));
    MPI_Finalize();
  }

  std::shared_ptr<void> busy() override { return threads_ < MPI_THREAD_SERIALIZED ? nullptr : busy_.begin(); }

 private:
  void barrier(const char* op, MPI_Comm comm) {
    run(op, [&](MPI_Request* r) { return MPI_Ibarrier(comm, r); });
  }

  template <class F>
  void run(const char* op, const F& start) {
    MPI_Request request = MPI_REQUEST_NULL;
    {
      const std::lock_guard lock(mutex_);
      check_code(start(&request), op);
    }
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
    const std::lock_guard lock(mutex_);
    for (int other = 0; other < size; ++other) {
      if (other == rank) continue;
      MPI_Request sent = MPI_REQUEST_NULL;
      if (MPI_Isend(&kNotices[what], 1, MPI_INT, other, 0, notices_, &sent) == MPI_SUCCESS) MPI_Request_free(&sent);
    }
    int any = 0;
    MPI_Iprobe(MPI_ANY_SOURCE, 0, notices_, &any, MPI_STATUS_IGNORE);  // gives MPI time to send them
  }
  /// Takes in what the others told.
  void hear() {
    const std::lock_guard lock(mutex_);
    for (;;) {
      int there = 0, what = 0;
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, 0, notices_, &there, &status);
      if (there == 0) return;
      MPI_Recv(&what, 1, MPI_INT, status.MPI_SOURCE, 0, notices_, MPI_STATUS_IGNORE);
      others_.hear(status.MPI_SOURCE, static_cast<Notice>(what));
    }
  }
  void listen(double seconds) {
    for (const Clock::time_point start = Clock::now(); seconds_since(start) < seconds; usleep(1000)) hear();
  }

  void keep_waiting(double seconds, const char* op, double for_all) {
    // Hears more often than it tells: what counts is when something was said.
    if (seconds < beat_ || seconds_since(heard_) < beat_ / 5) return;
    heard_ = Clock::now();
    hear();
    if (seconds_since(told_) >= beat_) {
      told_ = Clock::now();
      tell(at_end_ ? kAtEnd : kWaits);
    }
    if (const std::string whom = others_.in_vain(seconds, at_end_, for_all); !whom.empty())
      end_all(
          fmt::format("[{}] rank {} of {} waited {}: all processes are ended (ATLAS_DIST_TIMEOUT sets the seconds{})",
                      op, rank, size, whom, at_end_ ? "; work that takes longer says so: Group::busy()" : ""));
  }

  double timeout_, beat_;  // seconds; between two notices
  int threads_ = MPI_THREAD_SINGLE;
  // What runs in the background has a communicator of its own: its order among the other operations may then differ
  // from rank to rank, as it does where ranks compute different things. So does the end: a rank may be there early.
  MPI_Comm comm_ = MPI_COMM_NULL, background_ = MPI_COMM_NULL, notices_ = MPI_COMM_NULL, end_ = MPI_COMM_NULL;
  std::mutex mutex_;                    // one thread at a time: those of busy() and watch_start() tell and hear, too
  Clock::time_point told_{}, heard_{};  // when this rank told last that it waits; when it listened
  Patience others_{0, 1, 0};
  bool at_end_ = false;
  Busy busy_;
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
  } catch (const std::exception& e) {
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
