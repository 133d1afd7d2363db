-- Trino's functions that DuckDB lacks or defines otherwise. A macro may be overloaded by type, which
-- is how integers divide as integers, and a date plus a month stays a date. `dialect.py` renames
-- calls to these. Beware: an overload is also chosen by implicit casts, DECIMAL as DOUBLE.

-- Arithmetic.
CREATE MACRO batcat_divide(a TINYINT, b TINYINT) AS a // b, (a SMALLINT, b SMALLINT) AS a // b,
    (a INTEGER, b INTEGER) AS a // b, (a BIGINT, b BIGINT) AS a // b, (a HUGEINT, b HUGEINT) AS a // b,
    (a FLOAT, b FLOAT) AS a / b, (a DOUBLE, b DOUBLE) AS a / b;
CREATE MACRO batcat_truncate(x) AS trunc(x), (x, n) AS trunc(x * power(10, n)) / power(10, n);
CREATE MACRO batcat_log(b, x) AS ln(x) / ln(b);
CREATE MACRO batcat_width_bucket(x, a, b, n) AS
    CASE WHEN x < a THEN 0 WHEN x >= b THEN n + 1
    ELSE CAST(floor((x - a) / (b - a) * n) AS BIGINT) + 1 END;

-- Dates and times.
CREATE MACRO batcat_plus(a DATE, b INTERVAL) AS CAST(a + b AS DATE), (a TIME, b INTERVAL) AS a + b,
    (a TIMESTAMP, b INTERVAL) AS a + b, (a TIMESTAMPTZ, b INTERVAL) AS a + b,
    (a INTERVAL, b INTERVAL) AS a + b;
CREATE MACRO batcat_minus(a DATE, b INTERVAL) AS CAST(a - b AS DATE), (a TIME, b INTERVAL) AS a - b,
    (a TIMESTAMP, b INTERVAL) AS a - b, (a TIMESTAMPTZ, b INTERVAL) AS a - b,
    (a INTERVAL, b INTERVAL) AS a - b;
CREATE MACRO batcat_date_trunc(unit VARCHAR, x DATE) AS CAST(date_trunc(unit, x) AS DATE),
    (unit VARCHAR, x TIMESTAMP) AS date_trunc(unit, x),
    (unit VARCHAR, x TIMESTAMPTZ) AS date_trunc(unit, x);
-- Whole units that have passed, not boundaries that were crossed.
CREATE MACRO batcat_date_diff(unit VARCHAR, a DATE, b DATE) AS date_sub(unit, a, b),
    (unit VARCHAR, a TIMESTAMP, b TIMESTAMP) AS date_sub(unit, a, b),
    (unit VARCHAR, a TIMESTAMPTZ, b TIMESTAMPTZ) AS date_sub(unit, a, b);
CREATE MACRO batcat_parse_datetime(x, f) AS CAST(strptime(x, f) AS TIMESTAMPTZ);
CREATE MACRO batcat_from_iso8601_date(x) AS CAST(x AS DATE);
CREATE MACRO batcat_to_iso8601(x DATE) AS CAST(x AS VARCHAR),
    (x TIMESTAMP) AS strftime(x, '%Y-%m-%dT%H:%M:%S.%g'),
    (x TIMESTAMPTZ) AS strftime(x AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%gZ');
CREATE MACRO batcat_to_unixtime(x) AS epoch(x);
CREATE MACRO batcat_last_day_of_month(x) AS last_day(x);
CREATE MACRO batcat_year_of_week(x) AS isoyear(x);
CREATE MACRO batcat_millisecond(x) AS date_part('millisecond', x) % 1000;
-- The local time there: DuckDB's moments carry no zone of their own.
CREATE MACRO batcat_at_timezone(x, z) AS CAST(x AS TIMESTAMPTZ) AT TIME ZONE z;
CREATE MACRO batcat_with_timezone(x, z) AS CAST(x AS TIMESTAMP) AT TIME ZONE z;
CREATE MACRO batcat_interval_text(x) AS
    CAST(epoch_ms(x) // 86400000 AS VARCHAR) || ' ' ||
    strftime(TIMESTAMP '2000-01-01' + to_milliseconds(epoch_ms(x) % 86400000), '%H:%M:%S.%g');

-- Texts.
CREATE MACRO batcat_substr(x, s) AS
    CASE WHEN s = 0 OR s < -length(x) THEN '' ELSE substr(x, s) END,
    (x, s, n) AS CASE WHEN s = 0 OR s < -length(x) THEN '' ELSE substr(x, s, n) END;
CREATE MACRO batcat_split(x, d) AS string_split(x, d),
    (x, d, n) AS CASE WHEN len(string_split(x, d)) <= n THEN string_split(x, d)
    ELSE list_append(string_split(x, d)[:n - 1], array_to_string(string_split(x, d)[n:], d)) END;
CREATE MACRO batcat_split_part(x, d, i) AS
    CASE WHEN i <= len(string_split(x, d)) THEN split_part(x, d, i) END;
CREATE MACRO batcat_split_to_map(x, d, e) AS
    map_from_entries(list_transform(string_split(x, d),
        lambda p: {'k': split_part(p, e, 1), 'v': split_part(p, e, 2)}));
CREATE MACRO batcat_codepoint(x) AS unicode(x);
CREATE MACRO batcat_regexp_extract(x, p) AS
    CASE WHEN regexp_matches(x, p) THEN regexp_extract(x, p) END,
    (x, p, g) AS CASE WHEN regexp_matches(x, p) THEN regexp_extract(x, p, g) END;
-- All matches, not the first; groups are $1 instead of \1.
CREATE MACRO batcat_regexp_replace(x, p) AS regexp_replace(x, p, '', 'g'),
    (x, p, r) AS regexp_replace(x, p, regexp_replace(r, '\$(\d)', '\\\1', 'g'), 'g');
CREATE MACRO batcat_regexp_count(x, p) AS len(regexp_extract_all(x, p));

-- Bytes.
CREATE MACRO batcat_md5(x) AS unhex(md5(x));
CREATE MACRO batcat_sha1(x) AS unhex(sha1(x));
CREATE MACRO batcat_sha256(x) AS unhex(sha256(x));
CREATE MACRO batcat_to_hex(x BLOB) AS upper(hex(x));

-- Addresses.
CREATE MACRO batcat_group(x, p) AS
    CASE WHEN regexp_matches(x, p) THEN regexp_extract(x, p, 1) END;
CREATE MACRO batcat_url_protocol(x) AS batcat_group(x, '^([A-Za-z][A-Za-z0-9+.-]*):');
CREATE MACRO batcat_url_host(x) AS
    batcat_group(x, '^[A-Za-z][A-Za-z0-9+.-]*://(?:[^@/?#]*@)?([^:/?#]*)');
CREATE MACRO batcat_url_port(x) AS
    TRY_CAST(regexp_extract(x, '://[^/?#]*:([0-9]+)', 1) AS BIGINT);
CREATE MACRO batcat_url_path(x) AS
    url_decode(regexp_extract(x, '^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)', 1));
CREATE MACRO batcat_url_query(x) AS coalesce(batcat_group(x, '\?([^#]*)'), '');
CREATE MACRO batcat_url_fragment(x) AS coalesce(batcat_group(x, '#(.*)$'), '');
CREATE MACRO batcat_url_parameter(x, n) AS
    CASE WHEN regexp_matches(x, '[?&]' || n || '(=|&|#|$)')
    THEN url_decode(regexp_extract(x, '[?&]' || n || '=([^&#]*)', 1)) END;

-- JSON. The scalar at a path is NULL where there is an array, an object or nothing.
CREATE MACRO batcat_json_extract_scalar(x, p) AS
    CASE WHEN json_type(x, p) NOT IN ('ARRAY', 'OBJECT', 'NULL')
    THEN json_extract_string(x, p) END;
CREATE MACRO batcat_json_format(x) AS CAST(x AS VARCHAR);
CREATE MACRO batcat_json_size(x, p) AS
    coalesce(json_array_length(json_extract(x, p)), len(json_keys(json_extract(x, p))), 0);
CREATE MACRO batcat_json_array_get(x, i) AS json_extract(x, '$[' || CAST(i AS VARCHAR) || ']');
CREATE MACRO batcat_json_array_contains(x, v) AS
    list_contains(CAST(json_extract(x, '$[*]') AS VARCHAR[]), CAST(to_json(v) AS VARCHAR));

-- Arrays.
CREATE MACRO batcat_array_join(a, d) AS
    array_to_string(list_transform(list_filter(a, lambda v: v IS NOT NULL),
        lambda v: CAST(v AS VARCHAR)), d),
    (a, d, n) AS
    array_to_string(list_transform(a, lambda v: coalesce(CAST(v AS VARCHAR), n)), d);
CREATE MACRO batcat_array_sum(a) AS list_sum(a);
CREATE MACRO batcat_array_frequency(a) AS list_histogram(a);
CREATE MACRO batcat_arrays_overlap(a, b) AS list_has_any(a, b);
CREATE MACRO batcat_array_remove(a, x) AS list_filter(a, lambda v: v <> x);
CREATE MACRO batcat_repeat(x, n) AS list_transform(range(n), lambda i: x);
CREATE MACRO batcat_slice(a, s, n) AS
    CASE WHEN s > 0 THEN a[s:s + n - 1] ELSE a[len(a) + s + 1:len(a) + s + n] END;
CREATE MACRO batcat_sequence(a BIGINT, b BIGINT) AS generate_series(a, b),
    (a BIGINT, b BIGINT, s BIGINT) AS generate_series(a, b, s),
    (a DATE, b DATE) AS
    list_transform(generate_series(a, b, INTERVAL 1 DAY), lambda v: CAST(v AS DATE)),
    (a DATE, b DATE, s INTERVAL) AS
    list_transform(generate_series(a, b, s), lambda v: CAST(v AS DATE)),
    (a TIMESTAMP, b TIMESTAMP, s INTERVAL) AS generate_series(a, b, s);
CREATE MACRO batcat_typeof(x) AS lower(typeof(x));
