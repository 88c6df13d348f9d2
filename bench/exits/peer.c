/*
 * The peer of `npm run bench -- exits`: the same guest as Type2 runs, on the same /dev/kvm, with the least that
 * a VMM in C can do for it. Device registers are a switch; a queue is served by a thread that an ioeventfd
 * wakes and that interrupts by an irqfd, as in Type2.
 *
 * usage: peer GUEST OUTPUT [coalesced]    runs a flat guest, writes its memory up to 640 KiB to OUTPUT, and
 *                                         prints nanoseconds from the guest's first mark to its second
 *        peer ioctl                       prints nanoseconds of an ioctl on /dev/kvm that does nothing
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
	RAM = 1 << 20,
	CODE = 0x7c00,
	LOW_MEMORY = 0xa0000,
	MARK_PORT = 0xf5,
	POWER_PORT = 0x604,
	VIRTIO_GSI = 5,
	QUEUE_SIZE = 8,
};
#define VIRTIO 0xd0000000u
#define COALESCED 0xd000f000u

static uint8_t *ram;
static uint8_t uart[8];
static uint32_t registers[64]; /* of the virtio device, by offset / 4 */
static int notify, interrupt;

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int failed(const char *what)
{
	perror(what);
	return 1;
}

static void uart_write(unsigned offset, uint8_t value)
{
	switch (offset) {
	case 1: uart[1] = value & 0x0f; break;
	case 3: uart[3] = value; break;
	case 4: uart[4] = value & 0x1f; break;
	case 7: uart[7] = value; break;
	}
}

static uint32_t virtio_read(unsigned offset)
{
	switch (offset) {
	case 0x00: return 0x74726976; /* "virt" */
	case 0x04: return 2;
	case 0x08: return 4;
	}
	return offset < sizeof registers ? registers[offset / 4] : 0;
}

/* Gives each request back as it is. */
static void *serve_queue(void *unused)
{
	uint64_t count;
	for (uint16_t done = 0; read(notify, &count, sizeof count) == sizeof count;) {
		volatile uint16_t *available = (uint16_t *)(ram + registers[0x90 / 4]);
		volatile uint16_t *used = (uint16_t *)(ram + registers[0xa0 / 4]);
		for (; done != available[1]; done++) {
			volatile uint32_t *element = (uint32_t *)(used + 2) + done % QUEUE_SIZE * 2;
			element[0] = available[2 + done % QUEUE_SIZE];
			element[1] = 0;
		}
		__atomic_store_n((uint16_t *)used + 1, done, __ATOMIC_SEQ_CST);
		count = 1;
		if (write(interrupt, &count, sizeof count) < 0) perror("irqfd");
	}
	return unused;
}

static int time_ioctl(int kvm)
{
	enum { TURNS = 1000000 };
	for (int i = 0; i < TURNS / 10; i++) ioctl(kvm, KVM_GET_API_VERSION, 0);
	uint64_t start = now();
	for (int i = 0; i < TURNS; i++) ioctl(kvm, KVM_GET_API_VERSION, 0);
	printf("%g\n", (double)(now() - start) / TURNS);
	return 0;
}

int main(int argc, char **argv)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) return failed("/dev/kvm");
	if (argc == 2) return time_ioctl(kvm);
	if (argc < 3) return 2;

	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	ram = mmap(0, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region slot = { 0, 0, 0, RAM, (uintptr_t)ram };
	struct kvm_pit_config pit = { 0 };
	ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	if (vm < 0 || ioctl(vm, KVM_CREATE_IRQCHIP, 0) || ioctl(vm, KVM_CREATE_PIT2, &pit) ||
	    ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot))
		return failed("kvm");

	int image = open(argv[1], O_RDONLY);
	if (image < 0 || read(image, ram + CODE, RAM - CODE) <= 0) return failed(argv[1]);

	notify = eventfd(0, EFD_CLOEXEC);
	interrupt = eventfd(0, EFD_CLOEXEC);
	struct kvm_ioeventfd io = { .addr = VIRTIO + 0x50, .len = 4, .fd = notify, .flags = KVM_IOEVENTFD_FLAG_DATAMATCH };
	struct kvm_irqfd irq = { .fd = interrupt, .gsi = VIRTIO_GSI };
	if (ioctl(vm, KVM_IOEVENTFD, &io) || ioctl(vm, KVM_IRQFD, &irq)) return failed("eventfds");
	pthread_t thread;
	if (pthread_create(&thread, 0, serve_queue, 0)) return failed("thread");

	struct kvm_coalesced_mmio_ring *ring = 0;
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	struct kvm_run *run = mmap(0, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (argc > 3) {
		struct kvm_coalesced_mmio_zone zone = { .addr = COALESCED, .size = 4096 };
		int page = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
		if (page <= 0 || ioctl(vm, KVM_REGISTER_COALESCED_MMIO, &zone)) return failed("coalesced MMIO");
		ring = (void *)((uint8_t *)run + page * 4096);
	}

	struct kvm_sregs sregs;
	ioctl(vcpu, KVM_GET_SREGS, &sregs);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	ioctl(vcpu, KVM_SET_SREGS, &sregs);
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	ioctl(vcpu, KVM_SET_REGS, &regs);

	uint64_t marks[2] = { 0, 0 };
	for (int mark = 0;;) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) return failed("KVM_RUN");
		if (run->exit_reason == KVM_EXIT_IO) {
			uint8_t *data = (uint8_t *)run + run->io.data_offset;
			uint16_t port = run->io.port;
			if (port == MARK_PORT && mark < 2) marks[mark++] = now();
			else if (port == POWER_PORT) break;
			else if (run->io.direction == KVM_EXIT_IO_IN) *data = uart[port & 7];
			else
				for (uint32_t i = 0; i < run->io.count; i++) uart_write(port & 7, data[i]);
		} else if (run->exit_reason == KVM_EXIT_MMIO) {
			uint32_t offset = run->mmio.phys_addr - VIRTIO, value;
			if (run->mmio.is_write) {
				memcpy(&value, run->mmio.data, 4);
				if (offset < sizeof registers) registers[offset / 4] = value;
			} else {
				value = virtio_read(offset);
				memcpy(run->mmio.data, &value, 4);
			}
		} else {
			fprintf(stderr, "exit reason %u\n", run->exit_reason);
			return 1;
		}
		/* Writes that KVM has collected: taken at each exit, the next or one that a full ring makes. */
		if (ring) __atomic_store_n(&ring->first, __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
	}
	FILE *output = fopen(argv[2], "w");
	if (!output || fwrite(ram, LOW_MEMORY, 1, output) != 1 || fclose(output)) return failed(argv[2]);
	printf("%llu\n", (unsigned long long)(marks[1] - marks[0]));
	return 0;
}
