/*
 * What a guest says to the machine that it runs on, one program under five names:
 *
 *   outb PORT VALUE   writes a byte to an I/O port
 *   inb PORT          reads one and prints it
 *   poweroff, reboot, halt
 *                     sync the file systems and do so at once; options such as -f are accepted
 *
 * busybox's poweroff asks process 1 to do it, and process 1 is a shell script here. Written without a C
 * library: /init starts it before anything else, so it has to be small (two pages) and quick to start.
 */
#include <asm/unistd.h>
#include <linux/reboot.h>

static long syscall4(long number, long a, long b, long c, long d)
{
	long result;
#ifdef __x86_64__
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
#else
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
#endif
	return result;
}

static void print(int fd, const char *text)
{
	long length = 0;
	while (text[length] != 0)
		length++;
	syscall4(__NR_write, fd, (long)text, length, 0);
}

static int equal(const char *a, const char *b)
{
	while (*a != 0 && *a == *b)
		a++, b++;
	return *a == *b;
}

/* A decimal number, or a hexadecimal one with 0x; -1 if it is neither or more than 0xffff. */
static long number(const char *text)
{
	long value = 0, base = 10;
	if (text[0] == '0' && (text[1] | 0x20) == 'x') {
		base = 16;
		text += 2;
	}
	if (*text == 0)
		return -1;
	for (; *text != 0; text++) {
		int letter = *text | 0x20;
		long digit = *text >= '0' && *text <= '9' ? *text - '0' : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : 16;
		if (digit >= base)
			return -1;
		value = value * base + digit;
		if (value > 0xffff)
			return -1;
	}
	return value;
}

static int stop(const char *name, long command)
{
	syscall4(__NR_sync, 0, 0, 0, 0);
	syscall4(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, command, 0);
	print(2, name);
	print(2, ": only root may do this\n");
	return 1;
}

static int run(int argc, char **argv)
{
	const char *name = argv[0];
	for (const char *letter = name; *letter != 0; letter++)
		if (*letter == '/')
			name = letter + 1;
	if (equal(name, "poweroff"))
		return stop(name, LINUX_REBOOT_CMD_POWER_OFF);
	if (equal(name, "reboot"))
		return stop(name, LINUX_REBOOT_CMD_RESTART);
	if (equal(name, "halt"))
		return stop(name, LINUX_REBOOT_CMD_HALT);

	int writes = equal(name, "outb");
	long port = argc > 1 ? number(argv[1]) : -1;
	long value = writes && argc > 2 ? number(argv[2]) : 0;
	if (argc != (writes ? 3 : 2) || port < 0 || value < 0 || value > 0xff) {
		print(2, writes ? "usage: outb PORT VALUE\n" : "usage: inb PORT\n");
		return 2;
	}
	if (syscall4(__NR_iopl, 3, 0, 0, 0) != 0) {
		print(2, "no access to I/O ports\n");
		return 1;
	}
	if (writes) {
		__asm__ volatile("outb %b0, %w1" : : "a"(value), "d"(port));
	} else {
		unsigned char read;
		__asm__ volatile("inb %w1, %b0" : "=a"(read) : "d"(port));
		char text[] = { '0', 'x', "0123456789abcdef"[read >> 4], "0123456789abcdef"[read & 15], '\n', 0 };
		print(1, text);
	}
	return 0;
}

/* Called by _start with the stack as the kernel lays it out: argc, then argv. */
__attribute__((used)) void start(long *stack)
{
	syscall4(__NR_exit, run(stack[0], (char **)(stack + 1)), 0, 0, 0);
}

#ifdef __x86_64__
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call start");
#else
__asm__(".globl _start\n_start: mov %esp, %eax\n and $-16, %esp\n sub $12, %esp\n push %eax\n call start");
#endif
