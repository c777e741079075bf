// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"

/* Where a file goes, and how. */
struct place {
	char *path; /* without links, if the file is replaced */
	struct stat there;
	bool exists;
	bool replaced; /* by a new file; else it is written into */
	int own;       /* descriptor of a standard stream that it is, or -1 */
};

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int own_descriptor(const struct stat *there)
{
	struct stat stream = { 0 };

	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
		if (!fstat(fd, &stream) && same(&stream, there))
			return fd;
	return -1;
}

/* The folder of `path` with its slash, followed by `name`. */
static char *beside(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) + 1 : 0;
	char *joined = malloc(length + strlen(name) + 1);

	if (joined) {
		memcpy(joined, path, length);
		strcpy(joined + length, name);
	}
	return joined;
}

/* The path that links lead to, even if nothing is there yet. */
static char *without_links(const char *path)
{
	char target[4096] = "";
	char *found = realpath(path, NULL);
	char *next = NULL;
	ssize_t length = 0;

	if (found || errno != ENOENT)
		return found;
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return strdup(path);
	next = target[0] == '/' ? strdup(target) : beside(path, target);
	found = next ? without_links(next) : NULL;
	free(next);
	return found;
}

/* A new file in the same folder, with the mode and owner of the old one. */
static int open_neighbour(const struct place *place, char **path)
{
	mode_t mode = place->there.st_mode & 07777;
	int fd = -1;

	*path = beside(place->path, ".tzml-part-XXXXXX");
	if (!*path)
		return -1;
	fd = mkostemp(*path, O_CLOEXEC);
	if (!place->exists) {
		mode_t mask = umask(0);

		umask(mask);
		mode = 0666 & ~mask;
	}
	if (fd >= 0 && place->exists &&
	    (place->there.st_uid != geteuid() ||
	     place->there.st_gid != getegid()) &&
	    fchown(fd, place->there.st_uid, place->there.st_gid))
		goto err;
	if (fd >= 0 && !fchmod(fd, mode))
		return fd;
err:
	if (fd >= 0) {
		int error = errno;

		unlink(*path);
		close(fd);
		errno = error;
	}
	free(*path);
	*path = NULL;
	return -1;
}

static int probe_neighbour(const struct place *place)
{
	char *path = NULL;
	int fd = open_neighbour(place, &path);

	if (fd < 0)
		return -1;
	close(fd);
	unlink(path);
	free(path);
	return 0;
}

static int find_place(const char *path, struct place *place)
{
	*place = (struct place){ .own = -1 };
	if (!strcmp(path, "-")) {
		place->own = STDOUT_FILENO;
		return fstat(place->own, &place->there);
	}
	place->exists = !stat(path, &place->there);
	if (!place->exists && errno != ENOENT)
		return -1;
	if (place->exists) {
		if (S_ISDIR(place->there.st_mode))
			errno = EISDIR;
		else if (S_ISSOCK(place->there.st_mode))
			errno = ENXIO;
		else if (!access(path, W_OK))
			errno = 0;
		if (errno)
			return -1;
		place->own = own_descriptor(&place->there);
	}
	place->replaced = !place->exists ||
			  (S_ISREG(place->there.st_mode) && place->own < 0);
	place->path = place->replaced ? without_links(path) : strdup(path);
	if (!place->path)
		return -1;
	if (place->replaced && probe_neighbour(place)) {
		/* a file that can be written to, but not be replaced */
		if (place->exists &&
		    (errno == EACCES || errno == EPERM || errno == EROFS))
			place->replaced = false;
		else
			goto err;
	}
	return 0;
err:
	free(place->path);
	return -1;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t count = write(fd, data, size);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -1;
		data += count;
		size -= (size_t)count;
	}
	return 0;
}

static int write_into(const struct place *place, const void *data, size_t size)
{
	int truncate = S_ISREG(place->there.st_mode) ? O_TRUNC : 0;
	int fd = place->own;
	int status = 0;

	if (fd < 0)
		fd = open(place->path, O_WRONLY | O_CLOEXEC | truncate);
	if (fd < 0)
		return -1;
	status = write_all(fd, data, size);
	if (fd != place->own && close(fd))
		status = -1;
	return status;
}

static int replace(const struct place *place, const void *data, size_t size)
{
	char *path = NULL;
	int fd = open_neighbour(place, &path);
	int status = -1;
	int error = 0;

	if (fd < 0)
		return -1;
	status = write_all(fd, data, size) || fsync(fd) ? -1 : 0;
	if (close(fd))
		status = -1;
	if (!status)
		status = rename(path, place->path);
	if (status && errno == EBUSY) /* a file that is mounted */
		status = write_into(place, data, size);
	error = errno;
	unlink(path);
	free(path);
	errno = error;
	return status;
}

int output_check(const char *path)
{
	struct place place = { 0 };

	if (find_place(path, &place))
		return -1;
	free(place.path);
	return 0;
}

int output_write(const char *path, const void *data, size_t size)
{
	struct place place = { 0 };
	int status = find_place(path, &place);

	if (status)
		return status;
	status = place.replaced ? replace(&place, data, size)
				: write_into(&place, data, size);
	free(place.path);
	return status;
}

bool output_is_stdout(const char *path)
{
	struct stat there = { 0 };
	struct stat out = { 0 };

	if (!strcmp(path, "-"))
		return true;
	return !stat(path, &there) && !fstat(STDOUT_FILENO, &out) &&
	       same(&there, &out) && !S_ISCHR(there.st_mode);
}

bool output_replaces(const char *path, const char *input)
{
	struct stat there = { 0 };
	struct stat other = { 0 };

	/* a file of this name is neither */
	return strcmp(path, "-") && strcmp(input, "-") && !stat(path, &there) &&
	       !stat(input, &other) && same(&there, &other) &&
	       S_ISREG(there.st_mode);
}
