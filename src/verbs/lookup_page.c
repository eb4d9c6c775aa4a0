/*
 * The text: one table of all records that came, each once, then a line per question, then what the
 * server said about its answers. Cells are kept as offsets into one buffer until the widths of the
 * columns are known.
 */
#include "verbs/lookup_page.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "dns/dns.h"
#include "verbs/lookup_ask.h"
#include "verbs/lookup_words.h"

#define COLOR_GOOD "\033[32m"
#define COLOR_EMPTY "\033[33m"
#define COLOR_BAD "\033[31m"
#define COLOR_END "\033[0m"

enum column { COLUMN_NAME, COLUMN_TYPE, COLUMN_TTL, COLUMN_SECTION, COLUMN_DATA, COLUMNS };

static const char *const headings[COLUMNS] = { "NAME", "TYPE", "TTL", "SECTION", "DATA" };
static const char *const section_names[] = { "answer", "authority", "additional" };

struct table {
	struct buf cells; /* NUL-terminated texts, one behind the other */
	size_t (*rows)[COLUMNS];
	size_t row_count;
	size_t width[COLUMNS];
	bool failed;
};

static void put_type(uint16_t type, struct buf *out)
{
	char text[LOOKUP_WORDS_MAX];

	lookup_words_format_type(type, text);
	buf_puts(out, text);
}

static void put_rcode(uint16_t rcode, struct buf *out)
{
	char text[LOOKUP_WORDS_MAX];

	lookup_words_format_rcode(rcode, text);
	buf_puts(out, text);
}

static size_t count_answers(const struct lookup_reply *reply)
{
	size_t count = 0;

	for (size_t i = 0; i < reply->record_count; i++)
		count += reply->records[i].section == LOOKUP_REPLY_ANSWER;
	return count;
}

/* --- the table --- */

static const char *cell(const struct table *table, size_t row, enum column column)
{
	return table->cells.data + table->rows[row][column];
}

static bool is_same_record(const struct table *table, size_t a, size_t b)
{
	return strcmp(cell(table, a, COLUMN_DATA), cell(table, b, COLUMN_DATA)) == 0 &&
	       strcmp(cell(table, a, COLUMN_TYPE), cell(table, b, COLUMN_TYPE)) == 0 &&
	       strcasecmp(cell(table, a, COLUMN_NAME), cell(table, b, COLUMN_NAME)) == 0;
}

/* The additional records of one answer are often the answer to the next question. Only rows of
 * other questions are looked at: within one reply a record that comes twice is a finding. */
static bool is_known(const struct table *table, size_t known_count)
{
	for (size_t i = 0; i < known_count; i++)
		if (is_same_record(table, i, table->row_count))
			return true;
	return false;
}

static void put_cell(const struct lookup_reply *reply, const struct lookup_reply_record *record,
		     enum column column, struct buf *out)
{
	switch (column) {
	case COLUMN_NAME:
		lookup_reply_put_owner(reply, record, out);
		return;
	case COLUMN_TYPE:
		put_type(record->type, out);
		return;
	case COLUMN_TTL:
		buf_printf(out, "%u", record->ttl);
		return;
	case COLUMN_SECTION:
		buf_puts(out, section_names[record->section]);
		return;
	case COLUMN_DATA:
		lookup_reply_put_rdata(reply, record, out);
		return;
	case COLUMNS:
		return;
	}
}

static void add_row(struct table *table, const struct lookup_reply *reply,
		    const struct lookup_reply_record *record, size_t known_count)
{
	size_t *row = table->rows[table->row_count];

	for (enum column column = COLUMN_NAME; column < COLUMNS; column++) {
		row[column] = table->cells.length;
		put_cell(reply, record, column, &table->cells);
		buf_append(&table->cells, "", 1);
	}
	if (table->cells.failed || is_known(table, known_count))
		return;
	for (enum column column = COLUMN_NAME; column < COLUMNS; column++) {
		size_t width = strlen(cell(table, table->row_count, column));

		if (width > table->width[column])
			table->width[column] = width;
	}
	table->row_count++;
}

static void fill_table(const struct lookup_page *page, struct table *table)
{
	size_t room = 1;

	for (size_t i = 0; i < page->answer_count; i++)
		room += page->answers[i].reply.record_count;
	table->rows = calloc(room, sizeof(table->rows[0]));
	table->failed = !table->rows;
	for (unsigned section = 0; section < COUNT_OF(section_names) && !table->failed; section++)
		for (size_t i = 0; i < page->answer_count; i++) {
			const struct lookup_reply *reply = &page->answers[i].reply;
			size_t known_count = table->row_count;

			for (size_t j = 0; j < reply->record_count; j++)
				if (reply->records[j].section == section)
					add_row(table, reply, &reply->records[j], known_count);
		}
	table->failed |= table->cells.failed;
}

static void put_table(const struct lookup_page *page, struct buf *out)
{
	struct table table = { 0 };

	buf_init(&table.cells, 0);
	for (enum column column = COLUMN_NAME; column < COLUMNS; column++)
		table.width[column] = strlen(headings[column]);
	fill_table(page, &table);
	out->failed |= table.failed;
	for (size_t i = 0; i <= table.row_count && table.row_count && !table.failed; i++) {
		for (enum column column = COLUMN_NAME; column < COLUMN_DATA; column++)
			buf_printf(out, "%-*s  ", (int)table.width[column],
				   i ? cell(&table, i - 1, column) : headings[column]);
		buf_printf(out, "%s\n",
			   i ? cell(&table, i - 1, COLUMN_DATA) : headings[COLUMN_DATA]);
	}
	if (table.row_count)
		buf_puts(out, "\n");
	free(table.rows);
	buf_deinit(&table.cells);
}

/* --- the lines below it --- */

static void put_outcome(const struct lookup_answer *answer, bool has_color, struct buf *out)
{
	const struct lookup_reply *reply = &answer->reply;
	bool is_found = reply->rcode == DNS_NOERROR &&
			lookup_reply_has_answer(reply, answer->question.type);
	const char *color = is_found ? COLOR_GOOD : COLOR_BAD;
	size_t count = count_answers(reply);

	if (!is_found && (reply->rcode == DNS_NOERROR || reply->rcode == DNS_NXDOMAIN))
		color = COLOR_EMPTY;
	buf_puts(out, has_color ? color : "");
	put_rcode(reply->rcode, out);
	buf_puts(out, has_color ? COLOR_END : "");
	buf_puts(out, ", ");
	if (is_found)
		buf_printf(out, "%zu record%s", count, count == 1 ? "" : "s");
	else if (reply->rcode == DNS_NOERROR)
		buf_puts(out, "the name exists, but has no record of this type");
	else
		buf_puts(out, lookup_words_rcode_meaning(reply->rcode));
	buf_printf(out, "; %llu.%03llu ms over %s\n", (unsigned long long)(answer->took_us / 1000),
		   (unsigned long long)(answer->took_us % 1000),
		   answer->is_over_tcp ? "TCP" : "UDP");
}

static void put_remarks(const struct lookup_answer *answer, struct buf *out)
{
	const struct lookup_reply *reply = &answer->reply;

	if (answer->tcp_error)
		buf_printf(out, "      the reply was cut, and over TCP: %s\n",
			   strerror(-answer->tcp_error));
	if (answer->bad_count)
		buf_printf(out,
			   "      ignored: %u packet%s that answered something else or nothing\n",
			   answer->bad_count, answer->bad_count == 1 ? "" : "s");
	for (size_t i = 0; i < reply->ede_count; i++) {
		const struct lookup_reply_ede *ede = &reply->ede[i];

		buf_printf(out, "      EDE %u, %s: %s", ede->code, lookup_words_ede_name(ede->code),
			   lookup_words_ede_meaning(ede->code));
		if (ede->text_length) {
			buf_puts(out, " (");
			lookup_reply_put_ede_text(reply, ede, out);
			buf_puts(out, ")");
		}
		buf_puts(out, "\n");
	}
}

void lookup_page_put_text(const struct lookup_page *page, bool has_color, struct buf *out)
{
	put_table(page, out);
	for (size_t i = 0; i < page->answer_count; i++) {
		const struct lookup_answer *answer = &page->answers[i];
		char type[LOOKUP_WORDS_MAX];

		if (!answer->is_asked)
			continue;
		lookup_words_format_type(answer->question.type, type);
		buf_printf(out, "%-4s  ", type);
		if (answer->error)
			buf_printf(out, "no reply: %s\n", strerror(-answer->error));
		else
			put_outcome(answer, has_color, out);
		put_remarks(answer, out);
	}
	buf_printf(out, "asked: %s at %s\n", page->name, page->server);
}

/* --- JSON --- */

static void put_json_text(const struct buf *text, struct buf *out)
{
	out->failed |= text->failed;
	buf_puts(out, "\"");
	if (text->length)
		buf_put_json(out, text->data, text->length);
	buf_puts(out, "\"");
}

static void put_json_string(const char *text, struct buf *out)
{
	buf_puts(out, "\"");
	buf_put_json(out, text, strlen(text));
	buf_puts(out, "\"");
}

static void put_json_record(const struct lookup_reply *reply,
			    const struct lookup_reply_record *record, struct buf *out)
{
	struct buf text;

	buf_init(&text, 0);
	buf_puts(out, "{\"name\":");
	lookup_reply_put_owner(reply, record, &text);
	put_json_text(&text, out);
	buf_puts(out, ",\"type\":\"");
	put_type(record->type, out);
	buf_printf(out, "\",\"class\":%u,\"ttl\":%u,\"data\":", record->rr_class, record->ttl);
	text.length = 0;
	lookup_reply_put_rdata(reply, record, &text);
	put_json_text(&text, out);
	buf_puts(out, "}");
	buf_deinit(&text);
}

static void put_json_sections(const struct lookup_reply *reply, struct buf *out)
{
	for (unsigned section = 0; section < COUNT_OF(section_names); section++) {
		const char *comma = "";

		buf_printf(out, ",\"%s\":[", section_names[section]);
		for (size_t i = 0; i < reply->record_count; i++) {
			if (reply->records[i].section != section)
				continue;
			buf_puts(out, comma);
			put_json_record(reply, &reply->records[i], out);
			comma = ",";
		}
		buf_puts(out, "]");
	}
}

static void put_json_flags(uint16_t flags, struct buf *out)
{
	static const struct {
		uint16_t flag;
		const char *name;
	} names[] = { { DNS_FLAG_AA, "aa" }, { DNS_FLAG_TC, "tc" }, { DNS_FLAG_RD, "rd" },
		      { DNS_FLAG_RA, "ra" }, { DNS_FLAG_AD, "ad" }, { DNS_FLAG_CD, "cd" } };
	const char *comma = "";

	buf_puts(out, ",\"flags\":[");
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (flags & names[i].flag) {
			buf_printf(out, "%s\"%s\"", comma, names[i].name);
			comma = ",";
		}
	buf_puts(out, "]");
}

static void put_json_extended_errors(const struct lookup_reply *reply, struct buf *out)
{
	struct buf text;

	buf_init(&text, 0);
	buf_puts(out, ",\"extended_errors\":[");
	for (size_t i = 0; i < reply->ede_count; i++) {
		buf_printf(out, "%s{\"code\":%u,\"name\":", i ? "," : "", reply->ede[i].code);
		put_json_string(lookup_words_ede_name(reply->ede[i].code), out);
		buf_puts(out, ",\"meaning\":");
		put_json_string(lookup_words_ede_meaning(reply->ede[i].code), out);
		buf_puts(out, ",\"text\":");
		text.length = 0;
		lookup_reply_put_ede_text(reply, &reply->ede[i], &text);
		put_json_text(&text, out);
		buf_puts(out, "}");
	}
	buf_puts(out, "]");
	buf_deinit(&text);
}

static void put_json_answer(const struct lookup_answer *answer, struct buf *out)
{
	buf_puts(out, "{\"type\":\"");
	put_type(answer->question.type, out);
	buf_puts(out, "\"");
	if (!answer->is_asked) {
		buf_puts(out, ",\"error\":\"not asked\"}");
		return;
	}
	buf_printf(out, ",\"ignored_packets\":%u", answer->bad_count);
	if (answer->error) {
		buf_puts(out, ",\"error\":");
		put_json_string(strerror(-answer->error), out);
		buf_puts(out, "}");
		return;
	}
	buf_printf(out, ",\"transport\":\"%s\",\"time_us\":%llu,\"rcode\":\"",
		   answer->is_over_tcp ? "tcp" : "udp", (unsigned long long)answer->took_us);
	put_rcode(answer->reply.rcode, out);
	buf_puts(out, "\"");
	put_json_flags(answer->reply.flags, out);
	put_json_extended_errors(&answer->reply, out);
	put_json_sections(&answer->reply, out);
	buf_puts(out, "}");
}

void lookup_page_put_json(const struct lookup_page *page, struct buf *out)
{
	buf_puts(out, "{\"name\":");
	put_json_string(page->name, out);
	buf_puts(out, ",\"server\":");
	put_json_string(page->server, out);
	buf_printf(out, ",\"exit_code\":%d,\"questions\":[", page->exit_code);
	for (size_t i = 0; i < page->answer_count; i++) {
		buf_puts(out, i ? "," : "");
		put_json_answer(&page->answers[i], out);
	}
	buf_puts(out, "]}\n");
}
