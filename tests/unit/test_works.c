#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "forward/works.h"
#include "unit/support.h"

static struct works works;

static int start(void **state)
{
	(void)state;
	works_init(&works);
	return 0;
}

static struct works_entry entry_of(const char *name, uint16_t type)
{
	struct packet packet = packet_query(name, type, DNS_CLASS_IN);
	struct works_entry entry = { 0 };

	assert_int_equal(question_parse(packet.bytes, packet.length, &entry.question), QUESTION_OK);
	entry.hash = works_hash(&works, &entry.question);
	return entry;
}

static struct works_entry *find_same(const struct works_entry *entry)
{
	return works_find(&works, works_hash(&works, &entry->question), &entry->question);
}

static void the_same_question_in_another_case_is_found(void **state)
{
	struct works_entry entry = entry_of("a.example", DNS_TYPE_A);
	struct works_entry same = entry_of("A.Example", DNS_TYPE_A);

	(void)state;
	assert_null(find_same(&same));
	works_add(&works, &entry);
	assert_ptr_equal(find_same(&same), &entry);
}

static void another_name_type_class_do_or_cd_is_another_question(void **state)
{
	struct works_entry entry = entry_of("a.example", DNS_TYPE_A), other;

	(void)state;
	works_add(&works, &entry);
	other = entry_of("b.example", DNS_TYPE_A);
	assert_null(find_same(&other));
	other = entry_of("a.example", DNS_TYPE_AAAA);
	assert_null(find_same(&other));
	other = entry_of("a.example", DNS_TYPE_A);
	other.question.qclass = 3;
	assert_null(find_same(&other));
	other = entry_of("a.example", DNS_TYPE_A);
	other.question.has_do = true;
	assert_null(find_same(&other));
	other = entry_of("a.example", DNS_TYPE_A);
	other.question.flags ^= DNS_FLAG_CD;
	assert_null(find_same(&other));
	assert_ptr_equal(find_same(&entry), &entry);
}

/* Whatever the bucket: the hash alone says nothing. */
static void equal_hashes_do_not_make_questions_equal(void **state)
{
	struct works_entry entry = entry_of("a.example", DNS_TYPE_A);
	struct works_entry other = entry_of("b.example", DNS_TYPE_A);

	(void)state;
	works_add(&works, &entry);
	assert_null(works_find(&works, entry.hash, &other.question));
}

static void a_hidden_one_is_not_joined_but_still_there(void **state)
{
	struct works_entry first = entry_of("a.example", DNS_TYPE_A);
	struct works_entry second = entry_of("a.example", DNS_TYPE_A);

	(void)state;
	works_add(&works, &first);
	works_hide(&works, &first);
	works_hide(&works, &first);
	assert_null(find_same(&first));
	works_add(&works, &second);
	assert_ptr_equal(find_same(&first), &second);
	assert_ptr_equal(works.all.next, &first.by_works);
	works_remove(&works, &first);
	assert_ptr_equal(works.all.next, &second.by_works);
	assert_ptr_equal(find_same(&first), &second);
	works_remove(&works, &second);
	assert_null(find_same(&first));
	assert_true(list_is_empty(&works.all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_same_question_in_another_case_is_found, start),
		cmocka_unit_test_setup(another_name_type_class_do_or_cd_is_another_question, start),
		cmocka_unit_test_setup(equal_hashes_do_not_make_questions_equal, start),
		cmocka_unit_test_setup(a_hidden_one_is_not_joined_but_still_there, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
