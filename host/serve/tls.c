// SPDX-License-Identifier: Apache-2.0
/* TLS, by GnuTLS under libmicrohttpd: certificates of the server and of its clients. */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

/* A PEM file as a string. */
static char *read_pem(const char *path)
{
	const size_t most = 1 << 20;
	FILE *file = fopen(path, "rbe");
	char *data = calloc(1, most + 1);
	size_t size = file && data ? fread(data, 1, most, file) : 0;

	if (!size || (file && ferror(file)) || strlen(data) != size) {
		log_line("cannot read %s: %s", path,
			 file && !ferror(file) ? "it is no PEM file"
					       : strerror(errno));
		free(data);
		data = NULL;
	}
	if (file)
		fclose(file);
	return data;
}

static int check_pair(const struct tls *tls, const struct options *options)
{
	gnutls_certificate_credentials_t credentials = NULL;
	gnutls_datum_t certificate = { (unsigned char *)tls->certificate,
				       (unsigned int)strlen(tls->certificate) };
	gnutls_datum_t key = { (unsigned char *)tls->key,
			       (unsigned int)strlen(tls->key) };
	int error = gnutls_certificate_allocate_credentials(&credentials);

	if (!error)
		error = gnutls_certificate_set_x509_key_mem(
			credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
	if (error < 0)
		log_line("%s and %s are not a certificate and its key: %s",
			 options->certificate, options->key,
			 gnutls_strerror(error));
	if (error >= 0 && tls->client_ca) {
		gnutls_datum_t ca = { (unsigned char *)tls->client_ca,
				      (unsigned int)strlen(tls->client_ca) };

		error = gnutls_certificate_set_x509_trust_mem(
			credentials, &ca, GNUTLS_X509_FMT_PEM);
		if (error <= 0) {
			log_line("%s has no certificate of a CA",
				 options->client_ca);
			error = -1;
		}
	}
	if (credentials)
		gnutls_certificate_free_credentials(credentials);
	return error < 0 ? -1 : 0;
}

int tls_read(struct tls *tls, const struct options *options)
{
	if (!options->certificate)
		return 0;
	tls->certificate = read_pem(options->certificate);
	tls->key = tls->certificate ? read_pem(options->key) : NULL;
	if (tls->key && options->client_ca)
		tls->client_ca = read_pem(options->client_ca);
	if (tls->key && (tls->client_ca || !options->client_ca) &&
	    !check_pair(tls, options))
		return 0;
	tls_free(tls);
	return -1;
}

void tls_free(struct tls *tls)
{
	if (tls->key)
		explicit_bzero(tls->key, strlen(tls->key));
	free(tls->certificate);
	free(tls->key);
	free(tls->client_ca);
	*tls = (struct tls){ 0 };
}

void tls_require_client(void *session)
{
	/* libmicrohttpd only asks for a certificate, and checks none */
	gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
	gnutls_session_set_verify_cert(session, NULL, 0);
}

void tls_read_client(void *session, uint8_t client[CLIENT_SIZE])
{
	unsigned int count = 0;
	const gnutls_datum_t *chain =
		gnutls_certificate_get_peers(session, &count);
	size_t size = CLIENT_SIZE;

	if (chain && count)
		gnutls_fingerprint(GNUTLS_DIG_SHA256, chain, client, &size);
}
