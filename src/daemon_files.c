#include "daemon_files.h"

#include "config/config.h"

/* Takes in how the file looks now. true: it changed. */
static bool look(struct daemon_file *file)
{
	struct file_mark before = file->mark;

	file->mark = file_mark_at(file->path);
	return !file_mark_is_same(&before, &file->mark);
}

static void add(struct daemon_files *files, const char *path, enum daemon_files_kind kind)
{
	struct daemon_file *file = &files->file[files->count];

	if (!path || files->count == DAEMON_FILES_MAX)
		return;
	*file = (struct daemon_file){ .path = path, .kind = kind };
	look(file);
	files->count++;
}

void daemon_files_init(struct daemon_files *files, const struct config *config)
{
	files->count = 0;
	add(files, config->nomad_token_file, DAEMON_FILES_NOMAD);
	add(files, config->nomad_http_auth_file, DAEMON_FILES_NOMAD);
	add(files, config->nomad_ca_cert, DAEMON_FILES_NOMAD);
	add(files, config->nomad_client_cert, DAEMON_FILES_NOMAD);
	add(files, config->nomad_client_key, DAEMON_FILES_NOMAD);
	for (size_t i = 0; i < config->forward_count; i++) {
		if (config->forward[i].kind == CONFIG_FORWARD_FILE)
			add(files, config->forward[i].path, DAEMON_FILES_RESOLV_CONF);
	}
}

unsigned daemon_files_look(struct daemon_files *files)
{
	unsigned changed = 0;

	for (size_t i = 0; i < files->count; i++) {
		if (look(&files->file[i]))
			changed |= files->file[i].kind;
	}
	return changed;
}
