#include "unit/support.h"

#include "query/rebind.h"

/* An upstream's answer of one record of this type. */
static struct image *image_of(uint16_t type, const uint8_t *rdata, size_t length)
{
	struct image_builder builder = { 0 };
	struct image *image;
	uint8_t rr[256] = { 0xc0, 12 };

	store_be16(rr + 2, type);
	store_be16(rr + 4, DNS_CLASS_IN);
	store_be32(rr + 6, 300);
	store_be16(rr + 10, (uint16_t)length);
	memcpy(rr + 12, rdata, length);
	image_builder_add(&builder, rr, 12 + length, 2);
	image = image_builder_finish(&builder);
	assert_non_null(image);
	return image;
}

static bool is_private(const char *address)
{
	struct addr addr = ip(address);
	struct image *image = image_of(addr.family == AF_INET ? DNS_TYPE_A : DNS_TYPE_AAAA,
				       addr.bytes, addr.family == AF_INET ? 4 : 16);
	bool result = rebind_has_private(image);

	free(image);
	return result;
}

static void addresses_inside_are_private(void **state)
{
	static const char *const inside[] = {
		"127.0.0.1",
		"127.255.255.255",
		"10.0.0.1",
		"172.16.0.1",
		"172.31.255.255",
		"192.168.1.1",
		"169.254.169.254",
		"0.0.0.0",
		"100.64.0.1",
		"100.127.255.255",
		"::",
		"::1",
		"fe80::1",
		"febf::1",
		"fc00::1",
		"fdff::1",
		"fec0::1",
		"::127.0.0.1",
		"64:ff9b::a00:1",
		"64:ff9b::7f00:1",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(inside); i++) {
		if (!is_private(inside[i]))
			fail_msg("%s", inside[i]);
	}
}

static void addresses_outside_are_not(void **state)
{
	static const char *const outside[] = {
		"1.1.1.1",	  "126.255.255.255", "128.0.0.1",   "11.0.0.1",	   "172.15.255.255",
		"172.32.0.1",	  "192.167.1.1",     "192.169.0.1", "169.253.1.1", "100.63.255.255",
		"100.128.0.1",	  "2001:db8::1",     "fb00::1",	    "fe00::1",	   "ff02::1",
		"64:ff9b::101:1", "::2:0:0:1",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(outside); i++) {
		if (is_private(outside[i]))
			fail_msg("%s", outside[i]);
	}
}

static void an_ipv4_address_inside_of_ipv6_is_looked_at(void **state)
{
	uint8_t mapped[16] = {
		[10] = 0xff, [11] = 0xff, [12] = 192, [13] = 168, [14] = 1, [15] = 1
	};
	struct image *image = image_of(DNS_TYPE_AAAA, mapped, sizeof(mapped));

	(void)state;
	assert_true(rebind_has_private(image));
	free(image);
	mapped[12] = 193;
	image = image_of(DNS_TYPE_AAAA, mapped, sizeof(mapped));
	assert_false(rebind_has_private(image));
	free(image);
}

static bool has_private(uint16_t type, const void *rdata, size_t length)
{
	struct image *image = image_of(type, rdata, length);
	bool result = rebind_has_private(image);

	free(image);
	return result;
}

static void hints_of_https_are_looked_at(void **state)
{
	static const uint8_t alpn[] = { 0, 1, 0, 0, 1, 0, 3, 2, 'h', '2' };
	static const uint8_t hint4[] = { 0, 1, 0, 0, 1, 0, 3, 2,  'h', '2', 0,
					 4, 0, 8, 1, 1, 1, 1, 10, 0,   0,   1 };
	static const uint8_t outside4[] = { 0, 1, 1, 'x', 0, 0, 4, 0, 4, 1, 1, 1, 1 };
	static const uint8_t hint6[] = { 0, 1, 1, 'x', 0, 0, 6, 0, 16, 0, 0, 0, 0,
					 0, 0, 0, 0,   0, 0, 0, 0, 0,  0, 0, 1 };

	(void)state;
	assert_false(has_private(DNS_TYPE_HTTPS, alpn, sizeof(alpn)));
	assert_true(has_private(DNS_TYPE_HTTPS, hint4, sizeof(hint4)));
	assert_false(has_private(DNS_TYPE_SVCB, outside4, sizeof(outside4)));
	assert_true(has_private(DNS_TYPE_SVCB, hint6, sizeof(hint6)));
	assert_false(has_private(DNS_TYPE_TXT, hint4, sizeof(hint4)));
}

/* The last byte of each cut is the last of its memory: a sanitizer sees a read behind it. */
static void cut_rdata_is_never_read_past(void **state)
{
	static const uint8_t hint6[] = { 0, 1, 1, 'x', 0, 0, 6, 0, 16, 0, 0, 0, 0,
					 0, 0, 0, 0,   0, 0, 0, 0, 0,  0, 0, 1 };
	static const uint8_t long_label[] = { 0, 1, 63, 'x' };
	static const uint8_t pointer[] = { 0, 1, 0xc0 };

	(void)state;
	for (size_t length = 0; length < sizeof(hint6); length++)
		assert_false(has_private(DNS_TYPE_SVCB, hint6, length));
	assert_false(has_private(DNS_TYPE_SVCB, long_label, sizeof(long_label)));
	assert_false(has_private(DNS_TYPE_SVCB, pointer, sizeof(pointer)));
	assert_false(has_private(DNS_TYPE_A, hint6, 3));
	assert_false(has_private(DNS_TYPE_AAAA, hint6, 0));
}

static void only_what_is_configured_is_forbidden(void **state)
{
	struct config config = { .rebind_protection = true };
	struct config_forward corp = { .kind = CONFIG_FORWARD_ADDRESS };
	struct question inside = ask_question("www.corp.example", DNS_TYPE_A);
	struct question outside = ask_question("www.evil.example", DNS_TYPE_A);
	struct image image = { .has_private = true };
	struct answer answer;

	(void)state;
	answer_init(&answer);
	assert_false(rebind_is_forbidden(&config, &outside, &answer));
	answer.image = &image;
	corp.domain_length = (uint8_t)wire_name("corp.example", corp.domain);
	config.forward = &corp;
	config.forward_count = 1;
	assert_true(rebind_is_forbidden(&config, &outside, &answer));
	assert_false(rebind_is_forbidden(&config, &inside, &answer));
	corp.domain_length = 0;
	assert_true(rebind_is_forbidden(&config, &inside, &answer));
	config.rebind_protection = false;
	assert_false(rebind_is_forbidden(&config, &outside, &answer));
	config.rebind_protection = true;
	image.has_private = false;
	assert_false(rebind_is_forbidden(&config, &outside, &answer));
}

static void an_emptied_answer_says_why(void **state)
{
	struct image image = { .has_private = true };
	struct answer answer;

	(void)state;
	answer_init(&answer);
	answer.image = &image;
	answer.is_authentic = true;
	rebind_empty(&answer);
	assert_null(answer.image);
	assert_false(answer.is_authentic);
	assert_int_equal(answer.rcode, DNS_NOERROR);
	assert_int_equal(answer.ede, DNS_EDE_BLOCKED);
	assert_non_null(answer.ede_text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_inside_are_private),
		cmocka_unit_test(addresses_outside_are_not),
		cmocka_unit_test(an_ipv4_address_inside_of_ipv6_is_looked_at),
		cmocka_unit_test(hints_of_https_are_looked_at),
		cmocka_unit_test(cut_rdata_is_never_read_past),
		cmocka_unit_test(only_what_is_configured_is_forbidden),
		cmocka_unit_test(an_emptied_answer_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
