package sqlstore

// postgresSchema1 is the first schema in PostgreSQL.
//
// The functions are what SQLite's writer does between BEGIN and COMMIT, so that a
// write is one round trip. They lock one record each, and then only rows of
// members that name it, which nobody touches without that lock; nothing waits for
// a second record. So no two writes can wait for each other, and the sweep, which
// locks many records, waits for none.
//
// They are written for READ COMMITTED, where every statement sees what was
// committed before it began. Under a stricter level they fail with a
// serialization error, which is not taken for a conflict.
const postgresSchema1 = `
CREATE TABLE {schema}.records (
	kind    text COLLATE "C" NOT NULL,
	id      bytea  NOT NULL,
	version bytea  NOT NULL,
	sort    bigint NOT NULL,
	expires bigint,
	groups  bytea  NOT NULL, -- each group's length, as a varint, and name
	value   bytea  NOT NULL,
	PRIMARY KEY (kind, id)
);
CREATE INDEX records_by_expiry ON {schema}.records (expires) WHERE expires IS NOT NULL;

CREATE TABLE {schema}.members (
	name bytea  NOT NULL, -- of the group
	sort bigint NOT NULL,
	kind text COLLATE "C" NOT NULL,
	id   bytea  NOT NULL,
	PRIMARY KEY (name, sort, kind, id)
);

CREATE TABLE {schema}.counters (
	id      bytea  NOT NULL PRIMARY KEY,
	value   bigint NOT NULL,
	expires bigint NOT NULL
);
CREATE INDEX counters_by_expiry ON {schema}.counters (expires);

-- The names in records.groups.
CREATE FUNCTION {schema}.group_names(p_groups bytea) RETURNS SETOF bytea LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
DECLARE
	place integer := 0; -- of the next byte, from 0
	bytes integer;
	shift integer;
BEGIN
	WHILE place < length(p_groups) LOOP
		bytes := 0;
		shift := 0;
		LOOP
			bytes := bytes | ((get_byte(p_groups, place) & 127) << shift);
			place := place + 1;
			EXIT WHEN get_byte(p_groups, place - 1) < 128;
			shift := shift + 7;
		END LOOP;
		RETURN NEXT substring(p_groups FROM place + 1 FOR bytes);
		place := place + bytes;
	END LOOP;
END $$;

-- A commit of an account waits for the disk, whatever the server is set to.
CREATE FUNCTION {schema}.make_durable() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
	IF current_setting('synchronous_commit') = 'off' THEN
		PERFORM set_config('synchronous_commit', 'on', true);
	END IF;
END $$;

-- Put. p_prev is NULL when the key must hold nothing. Returns 0 when the record is
-- stored, 1 when another version was met, 2 when its groups are others.
CREATE FUNCTION {schema}.put(
	p_kind text, p_id bytea, p_prev bytea, p_version bytea, p_sort bigint, p_expires bigint,
	p_groups bytea, p_value bytea, p_now bigint, p_durable boolean
) RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
	cur_version bytea;
	cur_sort    bigint;
	cur_expires bigint;
	cur_groups  bytea;
	live        boolean;
BEGIN
	IF p_durable THEN
		PERFORM {schema}.make_durable();
	END IF;
	-- Who writes nothing takes no lock, and needs no commit. Who writes names the
	-- version that he has seen, which says all about a record, and begins again
	-- when it has gone meanwhile.
	LOOP
		SELECT r.version, r.sort, r.expires, r.groups INTO cur_version, cur_sort, cur_expires, cur_groups
			FROM {schema}.records r WHERE r.kind = p_kind AND r.id = p_id;
		IF NOT FOUND THEN
			IF p_prev IS NOT NULL THEN
				RETURN 1;
			END IF;
			INSERT INTO {schema}.records (kind, id, version, sort, expires, groups, value)
				VALUES (p_kind, p_id, p_version, p_sort, p_expires, p_groups, p_value)
				ON CONFLICT (kind, id) DO NOTHING;
			IF NOT FOUND THEN
				CONTINUE;
			END IF;
			INSERT INTO {schema}.members (name, sort, kind, id)
				SELECT g, p_sort, p_kind, p_id FROM {schema}.group_names(p_groups) g;
			RETURN 0;
		END IF;

		live := cur_expires IS NULL OR cur_expires > p_now;
		IF live AND cur_version = p_version THEN
			-- This very Put, resent. To lock the row is a write, so that the commit
			-- waits for what the first one may not have waited for: its replicas.
			PERFORM 1 FROM {schema}.records r WHERE r.kind = p_kind AND r.id = p_id FOR UPDATE;
			RETURN 0;
		ELSIF p_prev IS DISTINCT FROM (CASE WHEN live THEN cur_version END) THEN
			RETURN 1;
		ELSIF live AND cur_groups <> p_groups THEN
			RETURN 2;
		END IF;
		UPDATE {schema}.records r SET version = p_version, sort = p_sort, expires = p_expires, groups = p_groups, value = p_value
			WHERE r.kind = p_kind AND r.id = p_id AND r.version = cur_version;
		IF NOT FOUND THEN
			CONTINUE;
		END IF;
		IF NOT live OR cur_sort <> p_sort THEN
			DELETE FROM {schema}.members m USING {schema}.group_names(cur_groups) g
				WHERE m.name = g AND m.sort = cur_sort AND m.kind = p_kind AND m.id = p_id;
			INSERT INTO {schema}.members (name, sort, kind, id)
				SELECT g, p_sort, p_kind, p_id FROM {schema}.group_names(p_groups) g;
		END IF;
		RETURN 0;
	END LOOP;
END $$;

-- Delete.
CREATE FUNCTION {schema}.remove(p_kind text, p_id bytea, p_durable boolean) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
	cur_sort   bigint;
	cur_groups bytea;
BEGIN
	IF p_durable THEN
		PERFORM {schema}.make_durable();
	END IF;
	DELETE FROM {schema}.records r WHERE r.kind = p_kind AND r.id = p_id RETURNING r.sort, r.groups INTO cur_sort, cur_groups;
	IF FOUND THEN
		DELETE FROM {schema}.members m USING {schema}.group_names(cur_groups) g
			WHERE m.name = g AND m.sort = cur_sort AND m.kind = p_kind AND m.id = p_id;
	END IF;
END $$;

-- Collects a slice of what expired before p_before: so many records and counters,
-- and little more than so many bytes of values. Returns whether there may be more.
-- What somebody else has locked is left for later.
CREATE FUNCTION {schema}.sweep(p_before bigint, p_rows integer, p_bytes bigint) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
	r       record;
	records integer := 0;
	bytes   bigint := 0;
	counted integer;
BEGIN
	-- Nobody minds garbage that is back after a crash.
	PERFORM set_config('synchronous_commit', 'off', true);
	FOR r IN SELECT g.kind, g.id, g.sort, g.groups, length(g.value) AS size FROM {schema}.records g
		WHERE g.expires <= p_before ORDER BY g.expires LIMIT p_rows FOR UPDATE SKIP LOCKED
	LOOP
		EXIT WHEN bytes > p_bytes;
		bytes := bytes + r.size;
		records := records + 1;
		DELETE FROM {schema}.members m USING {schema}.group_names(r.groups) g
			WHERE m.name = g AND m.sort = r.sort AND m.kind = r.kind AND m.id = r.id;
		DELETE FROM {schema}.records d WHERE d.kind = r.kind AND d.id = r.id;
	END LOOP;
	DELETE FROM {schema}.counters c WHERE c.id = ANY (ARRAY(
		SELECT g.id FROM {schema}.counters g WHERE g.expires <= p_before ORDER BY g.expires LIMIT p_rows FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS counted = ROW_COUNT;
	RETURN records = p_rows OR bytes > p_bytes OR counted = p_rows;
END $$;`
