// SPDX-License-Identifier: Apache-2.0
/* The command line. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml.h>

#include "serve.h"

static const char usage[] =
	"usage: tzml-serve [OPTION]... [NAME=]BUNDLE...\n"
	"\n"
	"Serve models over HTTP with the Open Inference Protocol, version 2. Each\n"
	"BUNDLE is opened once and stays open. NAME is its file's name without .tzm\n"
	"if it is not given.\n"
	"\n"
	"  -w, --world WORLD       tee: in the secure world (default);\n"
	"                          ree: in this process\n"
	"  -l, --listen ADDRESS    a numeric address (default 127.0.0.1)\n"
	"  -p, --port PORT         default 8000; 0: a free one, which is printed\n"
	"      --tls-cert FILE     the server's certificate (PEM)\n"
	"      --tls-key FILE      its key\n"
	"      --client-ca FILE    the CA that signs clients' certificates. All three\n"
	"                          are needed for an address that is not loopback\n"
	"      --grant NAME=FILE   the grant (.tzg) for a sealed bundle\n"
	"      --entry NAME=NUMBER the entry point that is run (default 0)\n"
	"      --stages            the models are stages of attested pipelines: they\n"
	"                          take and give sealed records only\n"
	"      --instances COUNT   sessions of a model without state (default 1)\n"
	"      --queue COUNT       requests that wait for a model (default 16);\n"
	"                          more are answered with 503\n"
	"      --samples COUNT     at most in one request (default 16)\n"
	"      --sequences COUNT   at most open at once, of a model with state\n"
	"                          (default 4)\n"
	"      --sequence-idle SECONDS\n"
	"                          after which a sequence ends (default 60)\n"
	"      --timeout SECONDS   for a request to come, to be answered, and for\n"
	"                          its answer to be read, each (default 30)\n"
	"      --grace SECONDS     for requests that are here when the server is\n"
	"                          stopped (default 10)\n"
	"      --probe SECONDS     between looks at a TA that is idle (default 5)\n"
	"      --connections COUNT at most (default 256)\n"
	"      --memory MIB        at most, of requests that are here (default 64)\n"
	"  -V, --version           print the version\n"
	"  -h, --help              print this text\n"
	"\n"
	"SIGTERM and SIGINT stop the server after the requests that are here.\n"
	"\n"
	"Exit codes: 0 stopped, 1 an error, 2 a wrong command line.\n";

enum {
	TLS_CERT = 256,
	TLS_KEY,
	CLIENT_CA,
	GRANT,
	ENTRY,
	INSTANCES,
	QUEUE,
	SAMPLES,
	SEQUENCES,
	SEQUENCE_IDLE,
	TIMEOUT,
	GRACE,
	PROBE,
	CONNECTIONS,
	MEMORY,
	STAGES,
};

static const struct option names[] = {
	{ "client-ca", required_argument, NULL, CLIENT_CA },
	{ "connections", required_argument, NULL, CONNECTIONS },
	{ "entry", required_argument, NULL, ENTRY },
	{ "grace", required_argument, NULL, GRACE },
	{ "grant", required_argument, NULL, GRANT },
	{ "help", no_argument, NULL, 'h' },
	{ "instances", required_argument, NULL, INSTANCES },
	{ "listen", required_argument, NULL, 'l' },
	{ "memory", required_argument, NULL, MEMORY },
	{ "port", required_argument, NULL, 'p' },
	{ "probe", required_argument, NULL, PROBE },
	{ "queue", required_argument, NULL, QUEUE },
	{ "samples", required_argument, NULL, SAMPLES },
	{ "sequence-idle", required_argument, NULL, SEQUENCE_IDLE },
	{ "sequences", required_argument, NULL, SEQUENCES },
	{ "stages", no_argument, NULL, STAGES },
	{ "timeout", required_argument, NULL, TIMEOUT },
	{ "tls-cert", required_argument, NULL, TLS_CERT },
	{ "tls-key", required_argument, NULL, TLS_KEY },
	{ "version", no_argument, NULL, 'V' },
	{ "world", required_argument, NULL, 'w' },
	{ NULL, 0, NULL, 0 },
};

static int complain(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

static int complain(const char *format, ...)
{
	va_list arguments;

	fputs("tzml-serve: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputs("\nTry 'tzml-serve --help'.\n", stderr);
	return 2;
}

/* Options that are a number: where it goes, and what it may be. */
struct number {
	int option;
	const char *name;
	size_t offset;
	uint32_t least;
	uint32_t most;
};

#define NUMBER(option, name, field, least, most) \
	{ option, name, offsetof(struct options, field), least, most }

static const struct number numbers[] = {
	NUMBER('p', "--port", port, 0, 65535),
	NUMBER(INSTANCES, "--instances", instances, 1, 64),
	NUMBER(QUEUE, "--queue", queue, 1, 100000),
	NUMBER(SAMPLES, "--samples", samples, 1, 65536),
	NUMBER(SEQUENCES, "--sequences", sequences, 1, 1024),
	NUMBER(SEQUENCE_IDLE, "--sequence-idle", sequence_idle, 1, 86400),
	NUMBER(TIMEOUT, "--timeout", timeout, 1, 86400),
	NUMBER(GRACE, "--grace", grace, 0, 86400),
	NUMBER(PROBE, "--probe", probe, 1, 86400),
	NUMBER(CONNECTIONS, "--connections", connections, 16, 65536),
	NUMBER(MEMORY, "--memory", memory, 1, 1048576),
};

static bool parse_number(const char *text, uint32_t least, uint32_t most,
			 uint32_t *number)
{
	unsigned long found = 0;
	char *end = NULL;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	found = strtoul(text, &end, 10);
	if (errno || *end || found < least || found > most)
		return false;
	*number = (uint32_t)found;
	return true;
}

static int read_numeric(struct options *options, int option, const char *text)
{
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const struct number *number = numbers + i;
		uint32_t *to = (uint32_t *)((char *)options + number->offset);

		if (number->option != option)
			continue;
		return parse_number(text, number->least, number->most, to)
			       ? -1
			       : complain("%s takes a number from %u to %u",
					  number->name, number->least,
					  number->most);
	}
	return complain("an unknown option"); /* getopt_long has said which */
}

static bool is_name(const char *name)
{
	return *name && strlen(name) < NAME_SIZE &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       strlen(name);
}

/* The name before '=', or that of the file. */
static int read_model(struct options *options, const char *text)
{
	const char *equals = strchr(text, '=');
	const char *slash = strchr(text, '/');
	bool named = equals && (!slash || equals < slash);
	struct model_options *model = options->models + options->model_count;
	const char *from = text;
	size_t size = 0;

	if (options->model_count == MOST_MODELS)
		return complain("more than %u models", MOST_MODELS);
	model->path = named ? equals + 1 : text;
	if (!named)
		from = strrchr(text, '/') ? strrchr(text, '/') + 1 : text;
	size = named ? (size_t)(equals - text) : strlen(from);
	if (!named && size > 4 && !strcmp(from + size - 4, ".tzm"))
		size -= 4;
	if (size < NAME_SIZE)
		memcpy(model->name, from, size);
	if (!is_name(model->name))
		return complain("%s: a model's name has letters, digits and "
				"._- only; give NAME=BUNDLE",
				text);
	for (uint32_t i = 0; i < options->model_count; i++)
		if (!strcmp(options->models[i].name, model->name))
			return complain("two models are called %s",
					model->name);
	options->model_count++;
	return -1;
}

/* What follows "NAME=" of an option that is about one model. */
static int find_model(struct options *options, const char *option,
		      const char *text, struct model_options **model,
		      const char **value)
{
	size_t size = strcspn(text, "=");

	if (text[size] != '=')
		return complain("%s takes NAME=…", option);
	*value = text + size + 1;
	for (uint32_t i = 0; i < options->model_count; i++) {
		*model = options->models + i;
		if (strlen((*model)->name) == size &&
		    !memcmp((*model)->name, text, size))
			return -1;
	}
	return complain("%s: there is no model %.*s", option, (int)size, text);
}

/* Read --grant and --entry, once the models are known. */
static int read_about_models(struct options *options, int argc, char **argv)
{
	struct model_options *model = NULL;
	const char *value = NULL;
	int option = 0;
	int code = -1;

	optind = 1;
	while (code < 0 && (option = getopt_long(argc, argv, "hl:p:Vw:", names,
						 NULL)) != -1) {
		if (option != GRANT && option != ENTRY)
			continue;
		code = find_model(options,
				  option == GRANT ? "--grant" : "--entry",
				  optarg, &model, &value);
		if (code >= 0)
			break;
		if (option == GRANT)
			model->grant = value;
		else if (!parse_number(value, 0, 255, &model->entry))
			code = complain("--entry takes NAME=NUMBER");
	}
	return code;
}

static bool is_loopback(const struct options *options)
{
	const struct in6_addr *v6 = &options->socket.v6.sin6_addr;

	if (options->socket.any.sa_family == AF_INET)
		return ntohl(options->socket.v4.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(v6) ||
	       (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

static int check_listen(struct options *options)
{
	bool any = options->certificate || options->key || options->client_ca;
	bool all = options->certificate && options->key && options->client_ca;

	if (inet_pton(AF_INET, options->address,
		      &options->socket.v4.sin_addr) == 1) {
		options->socket.v4.sin_family = AF_INET;
		options->socket.v4.sin_port = htons((uint16_t)options->port);
	} else if (inet_pton(AF_INET6, options->address,
			     &options->socket.v6.sin6_addr) == 1) {
		options->socket.v6.sin6_family = AF_INET6;
		options->socket.v6.sin6_port = htons((uint16_t)options->port);
	} else {
		return complain("--listen %s is not a numeric address, such as "
				"127.0.0.1 or ::",
				options->address);
	}
	if (!is_loopback(options) && !all)
		return complain("%s is not a loopback address: the network "
				"gets in only with TLS and clients' "
				"certificates; give --tls-cert, --tls-key and "
				"--client-ca",
				options->address);
	if (any && (!options->certificate || !options->key))
		return complain("TLS takes --tls-cert and --tls-key");
	return -1;
}

int options_read(struct options *options, int argc, char **argv)
{
	int option = 0;
	int code = -1;

	*options = (struct options){
		.world = TZML_WORLD_TEE,
		.address = "127.0.0.1",
		.port = 8000,
		.instances = 1,
		.queue = 16,
		.samples = 16,
		.sequences = 4,
		.sequence_idle = 60,
		.timeout = 30,
		.grace = 10,
		.probe = 5,
		.connections = 256,
		.memory = 64,
	};
	while (code < 0 && (option = getopt_long(argc, argv, "hl:p:Vw:", names,
						 NULL)) != -1) {
		switch (option) {
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts("tzml-serve " TZML_RELEASE);
			return 0;
		case 'l':
			options->address = optarg;
			break;
		case 'w':
			if (strcmp(optarg, "tee") && strcmp(optarg, "ree"))
				return complain("-w takes tee or ree");
			options->world = strcmp(optarg, "tee") ? TZML_WORLD_REE
							       : TZML_WORLD_TEE;
			break;
		case TLS_CERT:
			options->certificate = optarg;
			break;
		case TLS_KEY:
			options->key = optarg;
			break;
		case STAGES:
			options->stages = 1;
			break;
		case CLIENT_CA:
			options->client_ca = optarg;
			break;
		case GRANT:
		case ENTRY: /* read_about_models */
			break;
		default:
			code = read_numeric(options, option, optarg);
		}
	}
	for (int i = optind; code < 0 && i < argc; i++)
		code = read_model(options, argv[i]);
	if (code < 0 && !options->model_count)
		code = complain("give a BUNDLE");
	if (code < 0 && options->stages &&
	    (options->world != TZML_WORLD_TEE || options->instances > 1))
		code = complain("--stages takes --world tee and one instance: "
				"each session has a key of its own");
	if (code < 0)
		code = read_about_models(options, argc, argv);
	return code < 0 ? check_listen(options) : code;
}
