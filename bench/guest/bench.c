/*
 * The guest of `npm run bench -- cpu`: the first process of a Linux guest. It says that it is there, runs
 * the rows one after another, prints how long each took by CLOCK_MONOTONIC and whether its result is right,
 * and switches the machine off. No C library: nothing runs here that is not in this file, on i386 without a
 * single SSE instruction. What busybox does is run by the busybox of the bundled guests. build.sh compiles it.
 *
 *   bench: init 0.353184                seconds on the kernel's clock when the process began
 *   bench: start crc32                  the lines of start and stop come when they say, for an outer clock
 *   bench: stop crc32
 *   bench: row crc32 0.461234 ok        or `wrong`, and what came out instead
 *   bench: done
 *
 * Arguments are the names of the rows to run; none runs all but those on a disk. The kernel passes on the words of its command
 * line that it doesn't know. Outside of a guest it runs as well, for whoever wants the bare processor's figures.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long word; /* a register */

#define SIEVE_LIMIT 20000000u
#define SIEVE_TURNS 3
#define SORT_COUNT 1000000u
#define CRC_BUFFER (1u << 20)
#define CRC_TURNS 50
#define FLOAT_STEPS 70000
#define FORKS 300
#define FORK_RESIDENT (16u << 20)
#define FORK_WRITTEN (64u << 10)
#define GETPPIDS 300000
#define FILE_SIZE (8u << 20)
#define SHELL_SCRIPT "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo $i"

/* What the rows have to come to. */
#define EXPECT_CRC32 0xc7e619e8
#define EXPECT_FLOAT 0x01024fad
#define EXPECT_GZIP 0xd4eb9d7d
#define EXPECT_SHELL 0xddf00c6f
#define EXPECT_SHA256 0x1c560efa

#define DATA "/tmp/bench-data"
#define OUTPUT "/tmp/bench-output"

/* ---- system calls ---- */

#ifdef __x86_64__
enum {
  SYS_read = 0, SYS_write = 1, SYS_open = 2, SYS_close = 3, SYS_pread64 = 17, SYS_pwrite64 = 18, SYS_madvise = 28, SYS_dup2 = 33, SYS_getpid = 39, SYS_fork = 57,
  SYS_execve = 59, SYS_wait4 = 61, SYS_fdatasync = 75, SYS_getppid = 110, SYS_mount = 165, SYS_reboot = 169, SYS_clock_gettime = 228,
  SYS_exit_group = 231,
};

static word syscall5(word number, word a, word b, word c, word d, word e) {
  register word r10 __asm__("r10") = d;
  register word r8 __asm__("r8") = e;
  word result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
  return result;
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
#else
enum {
  SYS_fork = 2, SYS_read = 3, SYS_write = 4, SYS_open = 5, SYS_close = 6, SYS_execve = 11, SYS_getpid = 20,
  SYS_mount = 21, SYS_dup2 = 63, SYS_getppid = 64, SYS_reboot = 88, SYS_wait4 = 114, SYS_fdatasync = 148, SYS_pread64 = 180, SYS_pwrite64 = 181, SYS_madvise = 219, SYS_exit_group = 252,
  SYS_clock_gettime = 265,
};

/* The kernel's own entry (AT_SYSINFO), as C libraries use it: SYSENTER where the processor has that. */
static word vsyscall;

static word syscall5(word number, word a, word b, word c, word d, word e) {
  word result;
  if (vsyscall != 0)
    __asm__ volatile("call *%[entry]"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), [entry] "m"(vsyscall)
                     : "memory");
  else
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                     : "memory");
  return result;
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %esp, %eax\n\tand $-16, %esp\n\tsub $12, %esp\n\tpush %eax\n\tcall begin\n");
#endif

#define CALL(name, ...) ((long)CALL_(name, __VA_ARGS__, 0, 0, 0, 0, 0))
#define CALL_(name, a, b, c, d, e, ...) \
  syscall5(SYS_##name, (word)(a), (word)(b), (word)(c), (word)(d), (word)(e))

/* ---- what a C library would bring ---- */

void *memset(void *to, int value, word size) {
  for (word i = 0; i < size; i++) ((volatile u8 *)to)[i] = (u8)value;
  return to;
}

void *memcpy(void *to, const void *from, word size) {
  for (word i = 0; i < size; i++) ((volatile u8 *)to)[i] = ((const u8 *)from)[i];
  return to;
}

static int equal(const char *a, const char *b) {
  while (*a != 0 && *a == *b) a++, b++;
  return *a == *b;
}

/* A line under construction. It goes out in one write, so that it gets one time on the other side. */
static char line[256];
static word used;

static void put(const char *text) {
  for (; *text != 0 && used < sizeof line - 1; text++) line[used++] = *text;
}

static void put_number(u32 value, int digits) {
  char text[12];
  int at = sizeof text - 1;
  text[at] = 0;
  do {
    text[--at] = (char)('0' + value % 10);
    value /= 10;
    digits--;
  } while (value != 0 || digits > 0);
  put(text + at);
}

static void put_hex(u32 value) {
  char text[9];
  for (int i = 0; i < 8; i++) text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
  text[8] = 0;
  put(text);
}

static void end_line(void) {
  line[used++] = '\n';
  CALL(write, 1, line, used);
  used = 0;
}

struct time {
  long seconds, nanoseconds;
};

static struct time now(void) {
  struct time time;
  CALL(clock_gettime, 1, &time);
  return time;
}

static void put_time(struct time from, struct time to) {
  long seconds = to.seconds - from.seconds, nanoseconds = to.nanoseconds - from.nanoseconds;
  if (nanoseconds < 0) seconds--, nanoseconds += 1000000000;
  put_number((u32)seconds, 1);
  put(".");
  put_number((u32)nanoseconds / 1000, 6);
}

/* The same numbers on each machine (Numerical Recipes' generator; its high bits are the good ones). */
static u32 seed;
static u32 next_random(void) { return (seed = seed * 1664525u + 1013904223u) >> 8; }

/* ---- rows: each says whether its result is right, and leaves what came out in `got` ---- */

static u32 got;
static const char *running;
static struct time began, ended;

static void say(const char *what) {
  put("bench: ");
  put(what);
  put(" ");
  put(running);
  end_line();
}

/* A row's time begins here: what comes before is preparation. */
static void start_clock(void) {
  say("start");
  began = now();
}

/* And ends here; what comes after looks at the result. */
static void stop_clock(void) {
  ended = now();
  say("stop");
}

static __attribute__((aligned(4096))) u8 composite[SIEVE_LIMIT];
static __attribute__((aligned(4096))) u32 numbers[SORT_COUNT], scratch[SORT_COUNT];

/* Gives whole pages back: they are zero when they are touched again. */
static void discard(void *from, u32 size) { CALL(madvise, from, size & ~4095u, 4); /* MADV_DONTNEED */ }

static u8 buffer[CRC_BUFFER];

static u32 crc_table[256];

static void make_crc_table(void) {
  for (u32 i = 0; i < 256; i++) {
    u32 crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    crc_table[i] = crc;
  }
}

static u32 crc32(u32 crc, const u8 *data, u32 size) {
  crc = ~crc;
  for (u32 i = 0; i < size; i++) crc = crc >> 8 ^ crc_table[(crc ^ data[i]) & 0xff];
  return ~crc;
}

static int row_crc32(void) {
  seed = 1;
  for (u32 i = 0; i < CRC_BUFFER; i++) buffer[i] = (u8)next_random();
  start_clock();
  make_crc_table();
  got = 0;
  for (int i = 0; i < CRC_TURNS; i++) got = crc32(got, buffer, CRC_BUFFER);
  stop_clock();
  return got == EXPECT_CRC32;
}

static void sieve(void) {
  for (u32 i = 2; i * i < SIEVE_LIMIT; i++)
    if (!composite[i])
      for (u32 j = i * i; j < SIEVE_LIMIT; j += i) composite[j] = 1;
  for (u32 i = 2; i < SIEVE_LIMIT; i++) got += !composite[i];
}

static int row_sieve(void) {
  discard(composite, sizeof composite);
  start_clock();
  got = 0;
  for (int i = 0; i < SIEVE_TURNS; i++) {
    for (u32 j = 0; j < SIEVE_LIMIT; j++) composite[j] = 0;
    sieve();
  }
  stop_clock();
  return got == SIEVE_TURNS * 1270607;
}

static __attribute__((noinline)) int compare(const void *a, const void *b) {
  u32 x = *(const u32 *)a, y = *(const u32 *)b;
  return (x > y) - (x < y);
}

/* Merge sort with a comparison function, as glibc's qsort is. */
static __attribute__((noinline)) void sort(u32 *base, u32 count, int (*order)(const void *, const void *)) {
  if (count <= 1) return;
  u32 left = count / 2, right = count - left;
  u32 *a = base, *b = base + left, *to = scratch;
  sort(a, left, order);
  sort(b, right, order);
  while (left > 0 && right > 0) {
    if (order(a, b) <= 0) *to++ = *a++, left--;
    else *to++ = *b++, right--;
  }
  while (left-- > 0) *to++ = *a++;
  count -= right;
  for (u32 i = 0; i < count; i++) base[i] = scratch[i];
}

static int row_qsort(void) {
  seed = 2;
  for (u32 i = 0; i < SORT_COUNT; i++) numbers[i] = next_random();
  start_clock();
  int (*volatile order)(const void *, const void *) = compare;
  sort(numbers, SORT_COUNT, order);
  stop_clock();
  got = 0;
  for (u32 i = 1; i < SORT_COUNT; i++) got += numbers[i - 1] > numbers[i];
  return got == 0;
}

/* Five bodies under gravity: the Sun and the outer planets. Multiplications, additions, a root, a division. */
struct body {
  double x, y, z, vx, vy, vz, mass;
};

static double energy(const struct body *bodies) {
  double sum = 0;
  for (int i = 0; i < 5; i++) {
    const struct body *a = &bodies[i];
    sum += 0.5 * a->mass * (a->vx * a->vx + a->vy * a->vy + a->vz * a->vz);
    for (int j = i + 1; j < 5; j++) {
      const struct body *b = &bodies[j];
      double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
      sum -= a->mass * b->mass / __builtin_sqrt(dx * dx + dy * dy + dz * dz);
    }
  }
  return sum;
}

static __attribute__((noinline)) void advance(struct body *bodies, double step) {
  for (int i = 0; i < 5; i++) {
    struct body *a = &bodies[i];
    for (int j = i + 1; j < 5; j++) {
      struct body *b = &bodies[j];
      double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
      double squared = dx * dx + dy * dy + dz * dz;
      double pull = step / (squared * __builtin_sqrt(squared));
      a->vx -= dx * b->mass * pull, a->vy -= dy * b->mass * pull, a->vz -= dz * b->mass * pull;
      b->vx += dx * a->mass * pull, b->vy += dy * a->mass * pull, b->vz += dz * a->mass * pull;
    }
  }
  for (int i = 0; i < 5; i++) {
    struct body *a = &bodies[i];
    a->x += step * a->vx, a->y += step * a->vy, a->z += step * a->vz;
  }
}

static int row_float(void) {
  static struct body bodies[5] = {
    {0, 0, 0, 0, 0, 0, 39.478417604357432},
    {4.84143144246472090, -1.16032004402742839, -0.10362204447112311, 0.60632639299583202, 2.81198684491626016,
     -0.02521836165988763, 0.03769367487038949},
    {8.34336671824457987, 4.12479856412430479, -0.40352341711432138, -1.01077434617879236, 1.82566237123041186,
     0.00841576137658415, 0.01128632613196877},
    {12.8943695621391310, -15.1111514016986312, -0.22330757889265573, 1.08279100644153536, 0.86871301816960822,
     -0.01083263740136364, 0.00172372405705971},
    {15.3796971148509165, -25.9193146099879641, 0.17925877295037118, 0.97909073224389793, 0.59469899864767617,
     -0.03475595555078104, 0.00203368686992463},
  };
  start_clock();
  for (int i = 0; i < FLOAT_STEPS; i++) advance(bodies, 0.01);
  stop_clock();
  /* x87 rounds to 64 bits and SSE2 to 53: the last digits are theirs, the first ten are not. */
  double result = energy(bodies) * -1e8;
  got = (u32)(int)result;
  int difference = (int)got - EXPECT_FLOAT;
  return difference >= -2 && difference <= 2;
}

static __attribute__((noreturn)) void leave(int status) {
  for (;;) CALL(exit_group, status);
}

/* A process with 16 MB of its own is copied, writes to 16 of its pages, ends, and is waited for. */
static int row_fork(void) {
  discard(composite, sizeof composite);
  discard(numbers, sizeof numbers);
  discard(scratch, sizeof scratch);
  for (u32 i = 0; i < FORK_RESIDENT; i += 4096) composite[i] = 1;
  start_clock();
  got = 0;
  for (int i = 0; i < FORKS; i++) {
    int status = -1;
    long child = CALL(fork, 0);
    if (child == 0) {
      for (u32 j = 0; j < FORK_WRITTEN; j += 4096) composite[j] = 2;
      leave(7);
    }
    got += child > 0 && CALL(wait4, child, &status, 0, 0) == child && status == 7 << 8;
  }
  stop_clock();
  return got == FORKS;
}

static int row_getppid(void) {
  start_clock();
  got = 0;
  long parent = CALL(getppid, 0);
  for (int i = 0; i < GETPPIDS; i++) got += CALL(getppid, 0) != parent;
  stop_clock();
  return got == 0;
}

/* ---- rows by busybox ---- */

enum { READ = 0, CREATE = 01 | 0100 | 01000 }; /* O_WRONLY | O_CREAT | O_TRUNC */

/* Runs busybox with its input from a file and its output into OUTPUT. Returns wait's status, or -1. */
static int run(const char *input, const char *const *arguments) {
  static const char *const environment[] = {"PATH=/bin:/usr/bin", 0};
  int status = -1;
  long child = CALL(fork, 0);
  if (child == 0) {
    long from = CALL(open, input, READ), to = CALL(open, OUTPUT, CREATE, 0600);
    CALL(dup2, from, 0);
    CALL(dup2, to, 1);
    CALL(execve, "/bin/busybox", arguments, environment);
    leave(127);
  }
  return child > 0 && CALL(wait4, child, &status, 0, 0) == child ? status : -1;
}

/* Text of a kind that compresses about threefold: words of a vocabulary, the early ones the most frequent. */
static int make_file(void) {
  static int made;
  static char words[1024][12];
  static u8 sizes[1024];
  if (made) return 1;
  seed = 3;
  for (int i = 0; i < 1024; i++) {
    sizes[i] = (u8)(2 + next_random() % 9);
    for (int j = 0; j < sizes[i]; j++) words[i][j] = "etaoinshrdlucmfwetaoinaeiou"[next_random() % 27];
  }
  long file = CALL(open, DATA, CREATE, 0600);
  if (file < 0) return 0;
  u32 at = 0, column = 0;
  for (u32 written = 0; written < FILE_SIZE;) {
    u32 pick = next_random() % 1024;
    pick = pick * (next_random() % 1024) / 1024;
    for (int j = 0; j < sizes[pick] && at < CRC_BUFFER - 1; j++) buffer[at++] = (u8)words[pick][j];
    column += sizes[pick] + 1u;
    buffer[at++] = column > 72 ? '\n' : ' ';
    if (column > 72) column = 0;
    if (at == CRC_BUFFER) {
      if (CALL(write, file, buffer, CRC_BUFFER) != CRC_BUFFER) return 0;
      written += at;
      at = 0;
    }
  }
  CALL(close, file);
  return made = 1;
}

static u32 crc32_of_file(const char *name) {
  u32 crc = 0;
  long file = CALL(open, name, READ), size;
  make_crc_table();
  while ((size = CALL(read, file, buffer, CRC_BUFFER)) > 0) crc = crc32(crc, buffer, (u32)size);
  CALL(close, file);
  return crc;
}

static int output_of(const char *input, const char *const *arguments, u32 expected) {
  start_clock();
  int status = run(input, arguments);
  stop_clock();
  got = crc32_of_file(OUTPUT);
  if (status != 0) got = (u32)status;
  return status == 0 && got == expected;
}

static int row_gzip(void) {
  static const char *const arguments[] = {"gzip", "-c", 0};
  if (!make_file()) return 0;
  return output_of(DATA, arguments, EXPECT_GZIP);
}

static int row_shell(void) {
  static const char *const arguments[] = {"sh", "-c", SHELL_SCRIPT, 0};
  return output_of("/dev/null", arguments, EXPECT_SHELL);
}

static int row_sha256(void) {
  static const char *const arguments[] = {"sha256sum", 0};
  if (!make_file()) return 0;
  return output_of(DATA, arguments, EXPECT_SHA256);
}

/* ---- rows on a disk ---- */

#include "disk.h"

static const struct {
  const char *name;
  int (*run)(void);
  int only_by_name;
} rows[] = {
  {"crc32", row_crc32, 0},       {"sieve", row_sieve, 0},         {"qsort", row_qsort, 0},
  {"float", row_float, 0},       {"fork", row_fork, 0},           {"getppid", row_getppid, 0},
  {"gzip", row_gzip, 0},         {"shell", row_shell, 0},         {"sha256", row_sha256, 0},
  {"seq-read", row_seq_read, 1}, {"seq-write", row_seq_write, 1}, {"rand-read", row_rand_read, 1},
  {"rand-write", row_rand_write, 1}, {"flush", row_flush, 1},
};

static void run_row(u32 index) {
  running = rows[index].name;
  int right = rows[index].run();
  put("bench: row ");
  put(running);
  put(" ");
  put_time(began, ended);
  put(right ? " ok" : " wrong ");
  if (!right) put_hex(got);
  end_line();
}

/* The word at the stack pointer is the number of arguments; then come the arguments, the environment and
   the auxiliary vector. */
__attribute__((noreturn, used)) void begin(word *stack) {
  static const struct time zero;
  struct time first = now();
  put("bench: init ");
  put_time(zero, first);
  end_line();

  word count = stack[0];
  char **arguments = (char **)(stack + 1);
#ifndef __x86_64__
  word *more = stack + 1 + count + 1;
  while (*more++ != 0) {}
  for (; more[0] != 0; more += 2)
    if (more[0] == 32) vsyscall = more[1]; /* AT_SYSINFO */
#endif
  int first_process = CALL(getpid, 0) == 1;
  if (first_process) CALL(mount, "tmpfs", "/tmp", "tmpfs", 0, 0);

  for (u32 i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    int wanted = count <= 1 && !rows[i].only_by_name;
    for (word j = 1; j < count; j++) wanted |= equal(arguments[j], rows[i].name);
    if (wanted) run_row(i);
  }
  put("bench: done");
  end_line();
  if (first_process) CALL(reboot, 0xfee1dead, 672274793, 0x4321fedc); /* LINUX_REBOOT_CMD_POWER_OFF */
  leave(0);
}
