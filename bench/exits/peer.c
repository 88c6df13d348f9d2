/*
 * The peer of `npm run bench -- exits`: the same guest as Type2 runs, on the same /dev/kvm, with the least
 * that a VMM in C can do for each exit. It models a UART's registers in a switch, as Type2's device does.
 *
 * usage: exits COUNT PORT     prints nanoseconds for COUNT writes to PORT
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

static uint8_t registers[8];

static void uart_write(unsigned offset, uint8_t value)
{
	switch (offset) {
	case 1: registers[1] = value & 0x0f; break;
	case 3: registers[3] = value; break;
	case 4: registers[4] = value & 0x1f; break;
	case 7: registers[7] = value; break;
	}
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int main(int argc, char **argv)
{
	uint32_t count = argc > 1 ? strtoul(argv[1], 0, 0) : 100000;
	uint16_t port = argc > 2 ? strtoul(argv[2], 0, 0) : 0x3ff;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	uint8_t *ram = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region slot = { 0, 0, 0, 1 << 20, (uintptr_t)ram };
	struct kvm_pit_config pit = { 0 };
	ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	if (kvm < 0 || vm < 0 || ioctl(vm, KVM_CREATE_IRQCHIP, 0) || ioctl(vm, KVM_CREATE_PIT2, &pit) ||
	    ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot)) {
		perror("kvm");
		return 1;
	}
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	struct kvm_run *run = mmap(0, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	/* mov dx, port; mov ecx, count; out 0x80, al; again: out dx, al; dec ecx; jnz again; out 0x81, al */
	uint8_t code[] = { 0xba, port, port >> 8, 0x66, 0xb9, count, count >> 8, count >> 16, count >> 24,
			   0xe6, 0x80, 0xee, 0x66, 0x49, 0x75, 0xfb, 0xe6, 0x81 };
	memcpy(ram + 0x1000, code, sizeof code);
	struct kvm_sregs sregs;
	ioctl(vcpu, KVM_GET_SREGS, &sregs);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	ioctl(vcpu, KVM_SET_SREGS, &sregs);
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	ioctl(vcpu, KVM_SET_REGS, &regs);

	uint64_t start = 0;
	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			perror("KVM_RUN");
			return 1;
		}
		if (run->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "exit reason %u\n", run->exit_reason);
			return 1;
		}
		uint8_t *data = (uint8_t *)run + run->io.data_offset;
		if (run->io.port == 0x80)
			start = now();
		else if (run->io.port == 0x81)
			break;
		else
			uart_write(run->io.port & 7, *data);
	}
	printf("%llu\n", (unsigned long long)(now() - start));
	return 0;
}
