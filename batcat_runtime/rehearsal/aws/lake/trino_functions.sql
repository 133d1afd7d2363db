-- Trino's functions that DuckDB lacks, under their own names, and what athena_rewrites.py calls.
-- A macro may be overloaded by type; beware that an overload is also chosen by implicit casts.

-- Numbers.
CREATE MACRO truncate(x) AS trunc(x);
CREATE MACRO is_finite(x) AS isfinite(x);
CREATE MACRO nan() AS CAST('NaN' AS DOUBLE);
CREATE MACRO infinity() AS CAST('Infinity' AS DOUBLE);
CREATE MACRO width_bucket(x, a, b, n) AS
    CASE WHEN x < a THEN 0 WHEN x >= b THEN n + 1
    ELSE CAST(floor((x - a) / (b - a) * n) AS BIGINT) + 1 END;

-- Casts.
CREATE MACRO batcat_try_digits(x) AS CASE WHEN regexp_full_match(x, '\s*[+-]?[0-9]+\s*') THEN x END;
CREATE MACRO batcat_digits(x) AS
    CASE WHEN x IS NULL OR regexp_full_match(x, '\s*[+-]?[0-9]+\s*') THEN x
    ELSE error('INVALID_CAST_ARGUMENT: Cannot cast ''' || x || ''' to INT') END;
CREATE MACRO batcat_double_text(x) AS
    CASE WHEN isnan(x) THEN 'NaN' WHEN isinf(x) THEN CASE WHEN x > 0 THEN 'Infinity' ELSE '-Infinity' END
    WHEN x = 0 THEN '0.0E0' ELSE regexp_replace(regexp_replace(list_filter(
        list_transform(range(17), lambda n: printf('%.' || greatest(n, 1) || 'e', x)),
        lambda t: CAST(t AS DOUBLE) = x)[1], 'e[+]?(-?)0*([0-9]+)$', 'E\1\2'), '([.][0-9]+?)0+E', '\1E') END;
CREATE MACRO batcat_shown(x) AS
    CASE WHEN x = 0 OR (abs(x) >= 1e-3 AND abs(x) < 1e7) THEN CAST(x AS VARCHAR)
    ELSE batcat_double_text(CAST(x AS DOUBLE)) END;
CREATE MACRO batcat_text(x DOUBLE) AS batcat_double_text(x),
    (x TIMESTAMP) AS strftime(x, '%Y-%m-%d %H:%M:%S.%g'),
    (x TIMESTAMPTZ) AS strftime(x AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%g') || ' UTC';

-- Dates and times.
CREATE MACRO batcat_parsed(x, f) AS CAST(strptime(x, f) AS TIMESTAMPTZ);
CREATE MACRO to_iso8601(x DATE) AS CAST(x AS VARCHAR),
    (x TIMESTAMP) AS strftime(x, '%Y-%m-%dT%H:%M:%S.%g'),
    (x TIMESTAMPTZ) AS strftime(x AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%gZ');
CREATE MACRO from_iso8601_date(x) AS CAST(x AS DATE);
CREATE MACRO last_day_of_month(x) AS last_day(x);
CREATE MACRO year_of_week(x) AS isoyear(x);
CREATE MACRO yow(x) AS isoyear(x);
CREATE MACRO millisecond(x) AS date_part('millisecond', x) % 1000;
CREATE MACRO at_timezone(x, z) AS CAST(x AS TIMESTAMPTZ) AT TIME ZONE z;
CREATE MACRO with_timezone(x, z) AS CAST(x AS TIMESTAMP) AT TIME ZONE z;
CREATE MACRO batcat_interval_text(x) AS CAST(epoch_ms(x) // 86400000 AS VARCHAR) || ' ' ||
    strftime(TIMESTAMP '2000-01-01' + to_milliseconds(epoch_ms(x) % 86400000), '%H:%M:%S.%g');

-- Texts.
CREATE MACRO batcat_split_part(x, d, i) AS
    CASE WHEN i <= len(string_split(x, d)) THEN split_part(x, d, i) END;
CREATE MACRO split_to_map(x, d, e) AS map_from_entries(list_transform(string_split(x, d),
    lambda p: {'k': split_part(p, e, 1), 'v': split_part(p, e, 2)}));
CREATE MACRO codepoint(x) AS unicode(x);
CREATE MACRO levenshtein_distance(a, b) AS levenshtein(a, b);
CREATE MACRO regexp_count(x, p) AS len(regexp_extract_all(x, p));
CREATE MACRO batcat_regexp_extract(x, p) AS
    CASE WHEN regexp_matches(x, p) THEN regexp_extract(x, p) END,
    (x, p, g) AS CASE WHEN regexp_matches(x, p) THEN regexp_extract(x, p, g) END;

-- Addresses.
CREATE MACRO url_extract_protocol(x) AS batcat_regexp_extract(x, '^([A-Za-z][A-Za-z0-9+.-]*):', 1);
CREATE MACRO url_extract_host(x) AS
    batcat_regexp_extract(x, '^[A-Za-z][A-Za-z0-9+.-]*://(?:[^@/?#]*@)?([^:/?#]*)', 1);
CREATE MACRO url_extract_path(x) AS
    url_decode(regexp_extract(x, '^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)', 1));
CREATE MACRO url_extract_query(x) AS regexp_extract(x, '\?([^#]*)', 1);
CREATE MACRO url_extract_parameter(x, n) AS
    url_decode(batcat_regexp_extract(x, '[?&]' || n || '=([^&#]*)', 1));

-- JSON. The scalar at a path is NULL where there is an array, an object or nothing.
CREATE MACRO batcat_json_scalar(x, p) AS
    CASE WHEN json_type(x, p) NOT IN ('ARRAY', 'OBJECT', 'NULL') THEN json_extract_string(x, p) END;
CREATE MACRO json_size(x, p) AS
    coalesce(json_array_length(json_extract(x, p)), len(json_keys(json_extract(x, p))), 0);
CREATE MACRO json_array_contains(x, v) AS
    list_contains(CAST(json_extract(x, '$[*]') AS VARCHAR[]), CAST(to_json(v) AS VARCHAR));

-- Arrays and maps.
CREATE MACRO array_sum(a) AS list_sum(a);
CREATE MACRO array_remove(a, x) AS list_filter(a, lambda v: v <> x);
CREATE MACRO slice(a, s, n) AS
    CASE WHEN s > 0 THEN a[s:s + n - 1] ELSE a[len(a) + s + 1:len(a) + s + n] END;
CREATE MACRO map_agg(k, v) AS map_from_entries(list({'k': k, 'v': v}) FILTER (WHERE k IS NOT NULL));
