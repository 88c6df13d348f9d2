/*
 * The processor as an oracle: runs single x86 instructions with a given state on the host's own CPU and tells
 * what became of that state.
 *
 * How it works. One signal handler is the whole engine. It is entered by the trap that ended a case, copies the
 * interrupted context out as that case's result, writes the next case's state into the same context and
 * returns; the kernel's sigreturn then loads every register at once, CS and SS included, so that 64-bit, 32-bit
 * (the kernel's compatibility segment) and 16-bit code (a segment in the LDT) all run from this one 64-bit
 * program. A case therefore costs one exception and one sigreturn, and whatever an instruction does to stack,
 * flags or memory can't hurt, as the handler has its own stack and needs nothing else.
 *
 * The instruction lies in a region that is otherwise INT3 (CC) from end to end. So it ends in a breakpoint,
 * whether it fell through or jumped; a jump out of the region faults on the fetch, which counts as an end
 * too. Only a trap whose RIP is still the instruction's own is a fault of the instruction.
 *
 * There is a short cut for 64-bit instructions that don't branch (struct input's `straight`): they are followed by
 * a jump instead, to code that saves the registers without the kernel's help and enters the next such case with
 * IRETQ, ten times as fast. Should one fault, the handler is there still.
 *
 * Records are of fixed size, the same both ways (struct input, struct output; oracle.ts has the offsets).
 * "oracle run" reads input records from stdin till its end and writes an output record for each to stdout;
 * "oracle features" tells what the host can do, as words.
 *
 * Neither way may touch FS-relative memory (glibc's thread data): the cases own FS and GS. Hence raw
 * system calls only where cases run, no stack protector, no errno.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <emmintrin.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

/* The layout that cases are written against; oracle.ts repeats these. */
#define CODE_BASE 0x20000000ul
#define CODE_SIZE 0x10000ul
#define CODE_START 0x800ul /* the instruction's offset: room for jumps both ways */
#define SHORT_CUT 0xff00ul  /* where the jump after a straight instruction goes */
#define DATA_BASE 0x10000000ul
#define DATA_SIZE 0x2000ul
#define READONLY_BASE 0x10004000ul
#define READONLY_SIZE 0x1000ul
#define FS_BASE (DATA_BASE)
#define GS_BASE (DATA_BASE + 0xf00)
#define MIDDLE_OFFSET 0xf00ul /* 256 bytes each side of the border between the two pages */
#define MIDDLE_SIZE 512ul
#define TAIL_OFFSET 0x1f80ul /* the last 128 bytes before the unmapped page */
#define TAIL_SIZE 128ul

/* Selectors: the kernel's flat ones, and our LDT (index << 3 | 4 | 3). */
#define SEL_CODE64 0x33
#define SEL_CODE32 0x23
#define SEL_DATA 0x2b
#define SEL_CODE16 0x07
#define SEL_DATA16 0x0f
#define SEL_FS32 0x17
#define SEL_GS32 0x1f
#define SEL_FS16 0x27
#define SEL_GS16 0x2f

#define TRAP_SYSCALL 0x80 /* in place of a vector: the instruction asked the kernel for something */
enum { KIND_OK, KIND_TRAP, KIND_TIMEOUT, KIND_UNSUPPORTED };

struct input {
  uint8_t fx[512]; /* FXSAVE image: x87, MXCSR, XMM */
  uint64_t gpr[16];
  uint32_t rflags, mode, code_length, straight;
  uint8_t code[16];
  uint8_t padding[32];
  uint8_t memory[MIDDLE_SIZE + TAIL_SIZE];
} __attribute__((aligned(64)));

struct output {
  uint8_t fx[512];
  uint64_t gpr[16];
  uint32_t rflags, kind, trap, error;
  uint64_t cr2, rip;
  uint16_t segment[6]; /* ES CS SS DS FS GS */
  uint32_t stray;      /* first address outside the windows that was written, or 0 */
  uint8_t padding[16];
  uint8_t memory[MIDDLE_SIZE + TAIL_SIZE];
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct input) == 1344 && sizeof(struct output) == 1344, "oracle.ts knows this size");

#define BATCH 256 /* small: pages that nobody has touched yet cost more than what runs on them */
static struct input inputs[BATCH + 1];
static struct output outputs[BATCH];
static int count, current, have_ldt;
static uint8_t *writable_code; /* the code region again, where cases can't find it */
static int running; /* 0: the next breakpoint starts a batch */
static int no_result; /* the next breakpoint is the short cut's, which hands the next case to the handler */
static int ticks, ticked_case;
static uint64_t main_fs;
static gregset_t main_gregs;
static uint8_t default_fx[512] __attribute__((aligned(64)));

/* REG_* of the architectural register numbers. */
static const int reg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static inline long raw_syscall(long n, long a, long b, long c) {
  long r;
  __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return r;
}

/* By system call, not WRFSBASE, when the kernel doesn't let user code have that. */
static int have_fsgsbase;
static inline void set_bases(uint64_t fs, uint64_t gs) {
  if (have_fsgsbase) {
    __asm__ volatile("wrfsbase %0\n\twrgsbase %1" ::"r"(fs), "r"(gs));
  } else {
    raw_syscall(SYS_arch_prctl, ARCH_SET_FS, (long)fs, 0);
    raw_syscall(SYS_arch_prctl, ARCH_SET_GS, (long)gs, 0);
  }
}

static void load_segments(int mode) {
  uint16_t data = mode == 16 ? SEL_DATA16 : SEL_DATA;
  uint16_t fs = mode == 64 ? 0 : mode == 32 ? SEL_FS32 : SEL_FS16;
  uint16_t gs = mode == 64 ? 0 : mode == 32 ? SEL_GS32 : SEL_GS16;
  __asm__ volatile("movw %0, %%ds\n\tmovw %0, %%es\n\tmovw %1, %%fs\n\tmovw %2, %%gs" ::"r"(data), "r"(fs), "r"(gs));
  if (mode == 64) set_bases(FS_BASE, GS_BASE);
}

/* The address of the first byte in [start, end) of the data pages that isn't zero, or 0; and zeroes them. */
static uint32_t sweep(unsigned long start, unsigned long end) {
  const __m128i *p = (const __m128i *)(DATA_BASE + start), *e = (const __m128i *)(DATA_BASE + end);
  __m128i a = _mm_setzero_si128(), b = a, c = a, d = a;
  for (; p < e; p += 4) {
    a = _mm_or_si128(a, p[0]), b = _mm_or_si128(b, p[1]);
    c = _mm_or_si128(c, p[2]), d = _mm_or_si128(d, p[3]);
  }
  a = _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d));
  if (_mm_movemask_epi8(_mm_cmpeq_epi8(a, _mm_setzero_si128())) == 0xffff) return 0;
  const uint8_t *q = (const uint8_t *)(DATA_BASE + start);
  while (!*q) q++;
  memset((void *)(DATA_BASE + start), 0, end - start);
  return (uint32_t)(uintptr_t)q;
}

/* The parts of a result that are taken alike however the case ended. */
static void take_common(struct output *out) {
  /* Not the instruction's: the last x87 instruction's opcode and pointers, MXCSR's mask, reserved bytes. */
  memset(out->fx + 5, 0, 19);
  memset(out->fx + 28, 0, 4);
  for (int i = 0; i < 8; i++) memset(out->fx + 42 + 16 * i, 0, 6);
  memset(out->fx + 416, 0, 96);
  __asm__ volatile("movw %%es, %0" : "=m"(out->segment[0]));
  __asm__ volatile("movw %%ds, %0" : "=m"(out->segment[3]));
  __asm__ volatile("movw %%fs, %0" : "=m"(out->segment[4]));
  __asm__ volatile("movw %%gs, %0" : "=m"(out->segment[5]));
  memcpy(out->memory, (void *)(DATA_BASE + MIDDLE_OFFSET), MIDDLE_SIZE);
  memcpy(out->memory + MIDDLE_SIZE, (void *)(DATA_BASE + TAIL_OFFSET), TAIL_SIZE);
  uint32_t a = sweep(0, MIDDLE_OFFSET), b = sweep(MIDDLE_OFFSET + MIDDLE_SIZE, TAIL_OFFSET);
  out->stray = a ? a : b;
}

static void take_result(ucontext_t *uc, const struct input *in, struct output *out, int sig) {
  greg_t *g = uc->uc_mcontext.gregs;
  uint64_t start = in->mode == 16 ? CODE_START : CODE_BASE + CODE_START;
  uint64_t rip = (uint64_t)g[REG_RIP], csgsfs = (uint64_t)g[REG_CSGSFS];
  uint32_t trap = (uint32_t)g[REG_TRAPNO];
  memcpy(out->fx, uc->uc_mcontext.fpregs, 512);
  uint64_t mask = in->mode == 64 ? ~0ul : 0xffffffffu;
  for (int i = 0; i < 16; i++) out->gpr[i] = (uint64_t)g[reg_of[i]] & mask;
  out->rflags = (uint32_t)g[REG_EFL] & ~0x10000u; /* RF is the exception's, not the instruction's */
  out->segment[1] = (uint16_t)csgsfs;
  out->segment[2] = (uint16_t)(csgsfs >> 48);
  out->trap = trap, out->error = 0, out->cr2 = 0;
  if (sig == SIGALRM) {
    out->kind = KIND_TIMEOUT, out->trap = 0;
  } else if (sig == SIGSYS) {
    out->kind = KIND_TRAP, out->trap = TRAP_SYSCALL;
  } else if (trap == 3 && (rip <= start || rip > start + in->code_length)) {
    out->kind = KIND_OK, out->trap = 0;
    rip--; /* past the INT3 that isn't part of the instruction */
  } else if (rip != start && (trap == 13 || trap == 14)) {
    out->kind = KIND_OK, out->trap = 0; /* jumped to where nothing can be fetched: the jump itself worked */
  } else {
    out->kind = KIND_TRAP, out->error = (uint32_t)g[REG_ERR];
    if (trap == 14) out->cr2 = (uint64_t)g[REG_CR2];
    if (trap != 8 && (trap < 10 || trap > 14) && trap != 17 && trap != 21) out->error = 0;
  }
  out->rip = rip;
  take_common(out);
}

/* Puts code and memory where the case wants them. */
static void load_common(struct input *in) {
  uint8_t *code = writable_code + CODE_START;
  memcpy(code, in->code, 16);
  memset(code + in->code_length, 0xcc, 24 - in->code_length);
  if (in->straight && in->mode == 64) {
    int32_t distance = (int32_t)(SHORT_CUT - (CODE_START + in->code_length + 5));
    code[in->code_length] = 0xe9;
    memcpy(code + in->code_length + 1, &distance, 4);
  }
  memcpy((void *)(DATA_BASE + MIDDLE_OFFSET), in->memory, MIDDLE_SIZE);
  memcpy((void *)(DATA_BASE + TAIL_OFFSET), in->memory + MIDDLE_SIZE, TAIL_SIZE);
  memset(in->fx + 416, 0, 96); /* no magic there: the kernel takes it as a plain FXSAVE image */
  *(uint32_t *)(in->fx + 24) &= 0xffff;
  in->rflags = (in->rflags & 0x40cd5) | 0x202;
  load_segments((int)in->mode);
}

/* Writes the case into the context that sigreturn will load. */
static void load_case(ucontext_t *uc, struct input *in) {
  greg_t *g = uc->uc_mcontext.gregs;
  load_common(in);
  uint64_t mask = in->mode == 64 ? ~0ul : 0xffffffffu;
  for (int i = 0; i < 16; i++) g[reg_of[i]] = (greg_t)(in->gpr[i] & mask);
  g[REG_EFL] = in->rflags;
  uint64_t cs = in->mode == 64 ? SEL_CODE64 : in->mode == 32 ? SEL_CODE32 : SEL_CODE16;
  uint64_t ss = in->mode == 16 ? SEL_DATA16 : SEL_DATA;
  g[REG_CSGSFS] = (greg_t)(cs | ss << 48);
  g[REG_RIP] = (greg_t)(in->mode == 16 ? CODE_START : CODE_BASE + CODE_START);
  uc->uc_flags |= 6; /* UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS: SS is what we say */
  uc->uc_mcontext.fpregs = (fpregset_t)in->fx;
}

/* Registers on their way between a case and its record, in the records' order. */
__attribute__((used)) static struct {
  uint64_t gpr[16];
  uint64_t rflags;
} fast;
__attribute__((used)) static uint8_t fast_stack[16384] __attribute__((aligned(64)));
__attribute__((used)) static uint8_t fast_fx[512] __attribute__((aligned(64)));

/* Takes the result that fast_exit saved. Returns the next case's x87 and SSE state, or 0 if the handler must go on. */
__attribute__((used)) static uint8_t *fast_next(void) {
  const struct input *done = &inputs[current];
  struct output *out = &outputs[current++];
  memcpy(out->fx, fast_fx, 512);
  memcpy(out->gpr, fast.gpr, sizeof fast.gpr);
  out->rflags = (uint32_t)fast.rflags & ~0x10000u;
  out->kind = KIND_OK, out->trap = 0, out->error = 0, out->cr2 = 0;
  out->rip = CODE_BASE + CODE_START + done->code_length;
  out->segment[1] = SEL_CODE64;
  __asm__ volatile("movw %%ss, %0" : "=m"(out->segment[2]));
  take_common(out);
  if (out->segment[2] != SEL_DATA || current == count || inputs[current].mode != 64) {
    no_result = 1;
    return 0;
  }
  struct input *in = &inputs[current];
  load_common(in);
  memcpy(fast.gpr, in->gpr, sizeof fast.gpr);
  fast.rflags = in->rflags;
  return in->fx;
}

/*
 * The short cut's two ends. IRETQ, as it serializes: the code was just written, through another address.
 */
void fast_exit(void);
__asm__(".text\n"
        "fast_exit:\n"
        "  movq %rax, fast+0(%rip)\n"
        "  movq %rcx, fast+8(%rip)\n"
        "  movq %rdx, fast+16(%rip)\n"
        "  movq %rbx, fast+24(%rip)\n"
        "  movq %rsp, fast+32(%rip)\n"
        "  movq %rbp, fast+40(%rip)\n"
        "  movq %rsi, fast+48(%rip)\n"
        "  movq %rdi, fast+56(%rip)\n"
        "  movq %r8, fast+64(%rip)\n"
        "  movq %r9, fast+72(%rip)\n"
        "  movq %r10, fast+80(%rip)\n"
        "  movq %r11, fast+88(%rip)\n"
        "  movq %r12, fast+96(%rip)\n"
        "  movq %r13, fast+104(%rip)\n"
        "  movq %r14, fast+112(%rip)\n"
        "  movq %r15, fast+120(%rip)\n"
        "  leaq fast_stack+16384(%rip), %rsp\n"
        "  pushfq\n"
        "  popq fast+128(%rip)\n"
        "  fxsave fast_fx(%rip)\n"
        "  pushq $0x202\n"
        "  popfq\n"
        "  call fast_next\n"
        "  testq %rax, %rax\n"
        "  jnz 1f\n"
        "  int3\n"
        "1: fxrstor (%rax)\n"
        "  pushq $0x2b\n" /* SS */
        "  pushq fast+32(%rip)\n"
        "  pushq fast+128(%rip)\n"
        "  pushq $0x33\n" /* CS */
        "  pushq $0x20000800\n"
        "  movq fast+0(%rip), %rax\n"
        "  movq fast+8(%rip), %rcx\n"
        "  movq fast+16(%rip), %rdx\n"
        "  movq fast+24(%rip), %rbx\n"
        "  movq fast+40(%rip), %rbp\n"
        "  movq fast+48(%rip), %rsi\n"
        "  movq fast+56(%rip), %rdi\n"
        "  movq fast+64(%rip), %r8\n"
        "  movq fast+72(%rip), %r9\n"
        "  movq fast+80(%rip), %r10\n"
        "  movq fast+88(%rip), %r11\n"
        "  movq fast+96(%rip), %r12\n"
        "  movq fast+104(%rip), %r13\n"
        "  movq fast+112(%rip), %r14\n"
        "  movq fast+120(%rip), %r15\n"
        "  iretq\n");

__attribute__((used)) static void on_signal(int sig, siginfo_t *info, ucontext_t *uc) {
  (void)info;
  if (!running) {
    if (sig == SIGALRM) return;
    running = 1;
    memcpy(main_gregs, uc->uc_mcontext.gregs, sizeof main_gregs);
  } else if (sig == SIGALRM) {
    uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    uc->uc_flags |= 6;
    if (inputs[current].mode == 64 && (rip < CODE_BASE || rip >= CODE_BASE + CODE_SIZE)) return; /* between cases */
    /* Two whole ticks without an end: the instruction runs forever (a jump to itself). */
    if (ticked_case != current) ticked_case = current, ticks = 0;
    if (++ticks < 3) return;
    take_result(uc, &inputs[current], &outputs[current], sig);
    current++;
  } else if (no_result) {
    no_result = 0;
  } else {
    take_result(uc, &inputs[current], &outputs[current], sig);
    current++;
  }
  while (current < count && (inputs[current].mode == 16 || inputs[current].mode == 32) && !have_ldt) {
    memset(&outputs[current], 0, sizeof outputs[0]);
    outputs[current++].kind = KIND_UNSUPPORTED;
  }
  if (current < count) {
    load_case(uc, &inputs[current]);
    return;
  }
  running = 0;
  memcpy(uc->uc_mcontext.gregs, main_gregs, sizeof main_gregs);
  uc->uc_flags |= 6;
  uc->uc_mcontext.fpregs = (fpregset_t)default_fx;
  uint16_t zero = 0;
  __asm__ volatile("movw %0, %%fs\n\tmovw %0, %%gs" ::"r"(zero));
  set_bases(main_fs, 0);
}

/*
 * The handler's door: the kernel leaves AC, NT and ID as the instruction left them (POPF sets any of them), and
 * sigreturn would hand NT and ID on to the next case.
 */
void signal_entry(void);
__asm__(".text\n"
        "signal_entry:\n"
        "  pushq $0x202\n"
        "  popfq\n"
        "  jmp on_signal\n");

static void die(const char *what) {
  fprintf(stderr, "oracle: %s: %s\n", what, strerror(errno));
  exit(2);
}

static int set_ldt(int index, unsigned long base, int is_code, int is_32bit) {
  struct user_desc d = {0};
  d.entry_number = (unsigned)index;
  d.base_addr = (unsigned)base;
  d.limit = is_32bit ? 0xfffff : 0xffff;
  d.limit_in_pages = (unsigned)is_32bit;
  d.seg_32bit = (unsigned)is_32bit;
  d.contents = is_code ? MODIFY_LDT_CONTENTS_CODE : MODIFY_LDT_CONTENTS_DATA;
  d.useable = 1;
  return (int)syscall(SYS_modify_ldt, 0x11, &d, sizeof d);
}

static int prepare_ldt(void) {
  return set_ldt(0, CODE_BASE, 1, 0) == 0 && set_ldt(1, DATA_BASE, 0, 0) == 0 && set_ldt(2, FS_BASE, 0, 1) == 0 &&
         set_ldt(3, GS_BASE, 0, 1) == 0 && set_ldt(4, FS_BASE, 0, 0) == 0 && set_ldt(5, GS_BASE, 0, 0) == 0;
}

static void map_fixed(unsigned long base, unsigned long size, int prot, int file) {
  int flags = MAP_FIXED_NOREPLACE | MAP_POPULATE | (file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
  void *p = mmap((void *)base, size, prot, flags, file, 0);
  if (p != (void *)base) die("mmap of a fixed address");
}

static size_t read_fully(void *to, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t n = read(0, (char *)to + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) die("read");
    if (n == 0) break;
    done += (size_t)n;
  }
  return done;
}

static void write_fully(const void *from, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t n = write(1, (const char *)from + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) die("write");
    done += (size_t)n;
  }
}

/* Words the test reads: the vendor, the CPUID features it groups cases by, and which modes work. */
static void print_features(void) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  char vendor[13] = {0};
  __get_cpuid(0, &a, &b, &c, &d);
  memcpy(vendor, &b, 4), memcpy(vendor + 4, &d, 4), memcpy(vendor + 8, &c, 4);
  printf("vendor=%s mode64", vendor);
  if (prepare_ldt()) printf(" mode32 mode16");
  __get_cpuid(1, &a, &b, &c, &d);
  const struct { unsigned word, bit; const char *name; } leaf1[] = {
      {c, 0, "sse3"},   {c, 1, "pclmul"}, {c, 9, "ssse3"}, {c, 13, "cx16"},  {c, 19, "sse4.1"}, {c, 20, "sse4.2"},
      {c, 22, "movbe"}, {c, 23, "popcnt"}, {c, 25, "aes"}, {c, 28, "avx"},   {d, 0, "x87"},     {d, 15, "cmov"},
      {d, 23, "mmx"},   {d, 25, "sse"},   {d, 26, "sse2"},
  };
  for (unsigned i = 0; i < sizeof leaf1 / sizeof *leaf1; i++)
    if (leaf1[i].word >> leaf1[i].bit & 1) printf(" %s", leaf1[i].name);
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    if (b >> 3 & 1) printf(" bmi1");
    if (b >> 5 & 1) printf(" avx2");
    if (b >> 8 & 1) printf(" bmi2");
    if (b >> 19 & 1) printf(" adx");
    if (b >> 29 & 1) printf(" sha");
  }
  if (__get_cpuid(0x80000001, &a, &b, &c, &d)) {
    if (c >> 0 & 1) printf(" lahf");
    if (c >> 5 & 1) printf(" lzcnt");
    if (c >> 8 & 1) printf(" 3dnowprefetch");
  }
  printf("\n");
}

int main(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "features")) return print_features(), 0;
  if (argc != 2 || strcmp(argv[1], "run")) return fprintf(stderr, "usage: oracle run|features\n"), 2;

  /* oracle.ts uses the same two files for every batch, and the offsets are the last batch's. */
  lseek(0, 0, SEEK_SET), lseek(1, 0, SEEK_SET);
  have_ldt = prepare_ldt();
  have_fsgsbase = !!(getauxval(AT_HWCAP2) & 2);
  syscall(SYS_arch_prctl, ARCH_GET_FS, &main_fs);
  *(uint16_t *)default_fx = 0x37f;
  *(uint32_t *)(default_fx + 24) = 0x1f80;
  int code = memfd_create("code", 0);
  if (code < 0 || ftruncate(code, CODE_SIZE)) die("memfd_create");
  writable_code = mmap(0, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, code, 0);
  if (writable_code == MAP_FAILED) die("mmap of the code region");
  memset(writable_code, 0xcc, CODE_SIZE);
  const uint64_t exit_address = (uint64_t)fast_exit;
  /* JMP [RIP+2]: aligned, since the case may have AC set. */
  memcpy(writable_code + SHORT_CUT, "\xff\x25\2\0\0\0", 6);
  memcpy(writable_code + SHORT_CUT + 8, &exit_address, 8);
  map_fixed(CODE_BASE, CODE_SIZE, PROT_READ | PROT_EXEC, code);
  map_fixed(DATA_BASE, DATA_SIZE, PROT_READ | PROT_WRITE, -1);
  map_fixed(READONLY_BASE, READONLY_SIZE, PROT_READ, -1);

  stack_t stack = {.ss_size = 1 << 18};
  stack.ss_sp = mmap(0, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, 0)) die("sigaltstack");
  struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
  action.sa_sigaction = (void (*)(int, siginfo_t *, void *))signal_entry;
  sigfillset(&action.sa_mask);
  const int signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS, SIGSYS, SIGALRM};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
    if (sigaction(signals[i], &action, 0)) die("sigaction");
  /* SYSCALL, SYSENTER and INT 80h in a case become SIGSYS: no case may ask the kernel for anything. */
  static char selector = 1; /* SYSCALL_DISPATCH_FILTER_BLOCK */
  prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, CODE_BASE + CODE_SIZE, ~0ul / 2, &selector);
  struct itimerval timer = {{0, 20000}, {0, 20000}};
  setitimer(ITIMER_REAL, &timer, 0);

  for (;;) {
    size_t bytes = read_fully(inputs, sizeof inputs);
    count = (int)(bytes / sizeof inputs[0]);
    if (bytes % sizeof inputs[0]) return fprintf(stderr, "oracle: half a record at the end of the input\n"), 2;
    if (!count) return 0;
    for (int i = 0; i < count; i++) {
      const struct input *in = &inputs[i];
      if ((in->mode != 64 && in->mode != 32 && in->mode != 16) || !in->code_length || in->code_length > 15)
        return fprintf(stderr, "oracle: record %d: mode %u, code length %u\n", i, in->mode, in->code_length), 2;
    }
    current = 0, ticked_case = -1;
    __asm__ volatile("int3" ::: "memory");
    write_fully(outputs, (size_t)count * sizeof outputs[0]);
  }
}
