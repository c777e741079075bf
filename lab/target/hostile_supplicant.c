// SPDX-License-Identifier: Apache-2.0
/*
 * A tee-supplicant that gives OP-TEE wrong answers: preloaded, it stands
 * between tee-supplicant and the files of OP-TEE's storage.
 *
 * CONTROL says what it does, as "MODE NUMBER": the NUMBERth read or write
 * since the file was last written is answered wrongly, or all of them with 0.
 *
 *   reads:  flip (a bit), half, empty, error, old and other (what this or
 *           another file had when OLD was copied)
 *   writes: lost, torn (half is written), full (the disk is)
 *
 * Anything else is honest. Each read appends an r to LOG, each write a w.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTROL "/run/hostile-supplicant"
#define LOG	CONTROL ".log"
#define OLD	CONTROL ".old"

typedef ssize_t read_function(int fd, void *data, size_t size, off64_t offset);
typedef ssize_t write_function(int fd, const void *data, size_t size,
			       off64_t offset);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char mode[16] = "honest";
static unsigned int number;   /* whose turn it is */
static unsigned int turns[2]; /* reads and writes so far */
static struct timespec written;

static void *next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

/* Read CONTROL if it was written since. */
static void read_orders(void)
{
	struct stat about;
	FILE *file;

	if (stat(CONTROL, &about) ||
	    !memcmp(&written, &about.st_mtim, sizeof(written)))
		return;
	file = fopen(CONTROL, "r");
	if (!file)
		return;
	if (fscanf(file, "%15s %u", mode, &number) != 2)
		strcpy(mode, "honest");
	fclose(file);
	written = about.st_mtim;
	turns[0] = 0;
	turns[1] = 0;
}

/* What to do with this read or write, one of the NULL-terminated modes. */
static const char *turn(int is_write, const char *const *modes)
{
	const char *found = NULL;
	int log = open(LOG, O_WRONLY | O_APPEND | O_CREAT, 0600);

	if (log >= 0) {
		if (write(log, is_write ? "w" : "r", 1) != 1)
			perror(LOG);
		close(log);
	}
	pthread_mutex_lock(&lock);
	read_orders();
	turns[is_write]++;
	if (!number || number == turns[is_write])
		while (*modes && !found) {
			if (!strcmp(*modes, mode))
				found = *modes;
			modes++;
		}
	pthread_mutex_unlock(&lock);
	return found;
}

/* Open the file in OLD with the name of fd's, or one with another name. */
static int open_old(int fd, int another)
{
	char link[32], path[PATH_MAX];
	struct dirent *entry;
	ssize_t size;
	char *name;
	DIR *folder;
	int old;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	size = readlink(link, path, sizeof(path) - 1);
	if (size < 0)
		return -1;
	path[size] = 0;
	name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	folder = opendir(OLD);
	if (!folder)
		return -1;
	do
		entry = readdir(folder);
	while (entry && (entry->d_name[0] == '.' ||
			 (another == !strcmp(entry->d_name, name))));
	old = entry ? openat(dirfd(folder), entry->d_name, O_RDONLY) : -1;
	closedir(folder);
	return old;
}

static ssize_t read_old(read_function *honest, int fd, int another, void *data,
			size_t size, off64_t offset)
{
	int old = open_old(fd, another);
	ssize_t got;

	if (old < 0)
		return honest(fd, data, size, offset);
	got = honest(old, data, size, offset);
	close(old);
	return got;
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
	static const char *const modes[] = { "flip", "half",  "empty", "error",
					     "old",  "other", NULL };
	read_function *honest = (read_function *)next("pread64");
	const char *now = turn(0, modes);
	ssize_t got;

	if (!now)
		return honest(fd, data, size, offset);
	if (!strcmp(now, "old") || !strcmp(now, "other"))
		return read_old(honest, fd, !strcmp(now, "other"), data, size,
				offset);
	if (!strcmp(now, "empty"))
		return 0;
	if (!strcmp(now, "error")) {
		errno = EIO;
		return -1;
	}
	got = honest(fd, data, size, offset);
	if (got <= 0)
		return got;
	if (!strcmp(now, "half"))
		return got / 2;
	((unsigned char *)data)[got / 2] ^= 1;
	return got;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	static const char *const modes[] = { "lost", "torn", "full", NULL };
	write_function *honest = (write_function *)next("pwrite64");
	const char *now = turn(1, modes);

	if (!now)
		return honest(fd, data, size, offset);
	if (!strcmp(now, "full")) {
		errno = ENOSPC;
		return -1;
	}
	if (!strcmp(now, "torn") && honest(fd, data, size / 2, offset) < 0)
		return -1;
	return size;
}
