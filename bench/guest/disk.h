/*
 * Rows of bench.c on a disk, /dev/vda: the host has made it of DISK_SIZE bytes, and each 4 KiB block of it begins
 * with its number. They bypass the guest's page cache. None runs unless it is named. Before the first of them comes a
 * warm-up: a VMM that compiles the guest's code, and the host's page cache, are to be measured when they have settled.
 */
#define DISK "/dev/vda"
#define DISK_SIZE (256u << 20)
#define BLOCK 4096u
#define LARGE_TRANSFER (1u << 20)
#define RANDOM_TRANSFERS 4000
#define FLUSHES 300
/* More than the executions after which Type2 compiles a block (HOT_COUNT in vm/cpu/lower/base-module.ts). */
#define WARM_TRANSFERS 9000
#define WARM_SEQUENTIAL (64u << 20)

enum { READ_WRITE = 2, DIRECT = 040000 };

static int disk_file = -1;
/* O_DIRECT wants whole sectors of memory; pages do for all disks. */
static __attribute__((aligned(4096))) u8 disk_buffer[LARGE_TRANSFER];

static int open_disk(void) {
  static int mounted;
  if (!mounted++) CALL(mount, "devtmpfs", "/dev", "devtmpfs", 0, 0);
  if (disk_file < 0) disk_file = (int)CALL(open, DISK, READ_WRITE | DIRECT);
  return disk_file >= 0;
}

static u32 *block_number(u32 offset) { return (u32 *)(disk_buffer + offset); }

static int transfer(int is_write, u32 at, u32 size) {
  return is_write ? CALL(pwrite64, disk_file, disk_buffer, size, at, 0) == (long)size
                  : CALL(pread64, disk_file, disk_buffer, size, at, 0) == (long)size;
}

/*
 * Reads what it then writes, so that the disk stays as it is: small transfers all over it, and large ones. It says how
 * far it has come: who is silent for long has failed.
 */
static void warm_up(void) {
  static int done;
  if (done++) return;
  seed = 5;
  for (int i = 0; i < WARM_TRANSFERS; i++) {
    if (i % 1000 == 0) say("warm-up for");
    u32 at = next_random() % (DISK_SIZE / BLOCK) * BLOCK;
    got += !transfer(0, at, BLOCK) + !transfer(1, at, BLOCK);
  }
  for (u32 at = 0; at < WARM_SEQUENTIAL; at += LARGE_TRANSFER)
    got += !transfer(0, at, LARGE_TRANSFER) + !transfer(1, at, LARGE_TRANSFER);
}

static int sequential(int is_write) {
  if (!open_disk()) return 0;
  got = 0;
  warm_up();
  start_clock();
  for (u32 at = 0; at < DISK_SIZE; at += LARGE_TRANSFER) {
    if (is_write)
      for (u32 i = 0; i < LARGE_TRANSFER; i += BLOCK) *block_number(i) = (at + i) / BLOCK;
    got += !transfer(is_write, at, LARGE_TRANSFER);
    if (!is_write)
      for (u32 i = 0; i < LARGE_TRANSFER; i += BLOCK) got += *block_number(i) != (at + i) / BLOCK;
  }
  stop_clock();
  return got == 0;
}

/* One after the other: what counts is how long each takes. */
static int scattered(int is_write) {
  if (!open_disk()) return 0;
  got = 0;
  warm_up();
  seed = 4;
  start_clock();
  for (int i = 0; i < RANDOM_TRANSFERS; i++) {
    u32 block = next_random() % (DISK_SIZE / BLOCK);
    if (is_write) *block_number(0) = block;
    got += !transfer(is_write, block * BLOCK, BLOCK);
    if (!is_write) got += *block_number(0) != block;
  }
  stop_clock();
  return got == 0;
}

static int row_seq_read(void) { return sequential(0); }
static int row_seq_write(void) { return sequential(1); }
static int row_rand_read(void) { return scattered(0); }
static int row_rand_write(void) { return scattered(1); }

/* A block written and made stable, again and again. */
static int row_flush(void) {
  if (!open_disk()) return 0;
  got = 0;
  warm_up();
  start_clock();
  for (u32 i = 0; i < FLUSHES; i++) {
    *block_number(0) = i;
    got += !transfer(1, i * BLOCK, BLOCK);
    got += CALL(fdatasync, disk_file) != 0;
  }
  stop_clock();
  return got == 0;
}
