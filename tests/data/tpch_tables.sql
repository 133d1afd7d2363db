-- TPC-H's tables with a few thousand rows, so that each of its queries finds some.
CREATE MACRO pick(i, salt, choices) AS choices[1 + CAST(hash(i, salt) % len(choices) AS INTEGER)];
CREATE MACRO number(i, salt, low, high) AS low + CAST(hash(i, salt) % (high - low + 1) AS INTEGER);
CREATE MACRO money(i, salt, low, high) AS CAST(number(i, salt, low * 100, high * 100) / 100 AS DECIMAL(12, 2));
CREATE MACRO phone(i, nation) AS (nation + 10) || '-' || number(i, 'a', 100, 999) || '-' || number(i, 'b', 1000, 9999);
CREATE TABLE region AS SELECT i AS r_regionkey, r AS r_name, 'about ' || r AS r_comment
    FROM (SELECT unnest(range(5)) AS i, unnest(['AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST']) AS r);
CREATE TABLE nation AS SELECT i AS n_nationkey, n AS n_name, i % 5 AS n_regionkey, 'about ' || n AS n_comment
    FROM (SELECT unnest(range(25)) AS i, unnest(['ALGERIA', 'BRAZIL', 'CHINA', 'FRANCE', 'EGYPT', 'ETHIOPIA', 'CANADA',
    'INDIA', 'GERMANY', 'IRAN', 'KENYA', 'PERU', 'INDONESIA', 'ROMANIA', 'IRAQ', 'MOROCCO', 'UNITED STATES', 'JAPAN',
    'RUSSIA', 'JORDAN', 'MOZAMBIQUE', 'ARGENTINA', 'VIETNAM', 'UNITED KINGDOM', 'SAUDI ARABIA']) AS n);
CREATE TABLE supplier AS SELECT i AS s_suppkey, 'Supplier#' || lpad(CAST(i AS VARCHAR), 9, '0') AS s_name,
    'street ' || i AS s_address, i % 25 AS s_nationkey, phone(i, i % 25) AS s_phone, money(i, 's', -999, 9999) AS s_acctbal,
    CASE WHEN i % 10 = 3 THEN 'the Customer had some Complaints' ELSE 'quiet' END AS s_comment FROM range(1, 51) AS t(i);
CREATE TABLE part AS SELECT i AS p_partkey,
    pick(i, 'x', ['green', 'forest', 'blue', 'red']) || ' ' || pick(i, 'y', ['lace', 'green', 'tan']) AS p_name,
    'Manufacturer#' || number(i, 'm', 1, 5) AS p_mfgr, 'Brand#' || number(i, 'b', 1, 3) || number(i, 'c', 1, 3) AS p_brand,
    pick(i, 'a', ['STANDARD', 'SMALL', 'ECONOMY', 'PROMO', 'MEDIUM']) || ' ' || pick(i, 'e', ['ANODIZED', 'POLISHED'])
    || ' ' || pick(i, 'f', ['BRASS', 'STEEL']) AS p_type, number(i, 's', 1, 20) AS p_size,
    pick(i, 'd', ['SM CASE', 'MED BOX', 'MED BAG', 'LG BOX', 'LG CASE', 'SM BOX']) AS p_container,
    money(i, 'p', 900, 2000) AS p_retailprice, 'part ' || i AS p_comment FROM range(1, 201) AS t(i);
CREATE TABLE partsupp AS SELECT p AS ps_partkey, 1 + (p * 7 + k * 13) % 50 AS ps_suppkey,
    number(p * 4 + k, 'q', 1, 999) AS ps_availqty, money(p * 4 + k, 'c', 1, 1000) AS ps_supplycost, 'ps' AS ps_comment
    FROM range(1, 201) AS a(p), range(4) AS b(k);
CREATE TABLE customer AS SELECT i AS c_custkey, 'Customer#' || i AS c_name, 'road ' || i AS c_address,
    number(i, 'n', 0, 24) AS c_nationkey, phone(i, number(i, 'n', 0, 24)) AS c_phone, money(i, 'b', -999, 9999) AS c_acctbal,
    pick(i, 'm', ['BUILDING', 'AUTOMOBILE', 'MACHINERY']) AS c_mktsegment, 'customer ' || i AS c_comment
    FROM range(1, 151) AS t(i);
CREATE TABLE orders AS SELECT i AS o_orderkey, number(i, 'c', 1, 110) AS o_custkey, pick(i, 's', ['F', 'O', 'P']) AS o_orderstatus,
    money(i, 't', 900, 400000) AS o_totalprice, DATE '1992-01-01' + number(i, 'd', 0, 2404) AS o_orderdate,
    pick(i, 'p', ['1-URGENT', '2-HIGH', '3-MEDIUM', '5-LOW']) AS o_orderpriority, 'Clerk#' || i % 9 AS o_clerk,
    0 AS o_shippriority, CASE WHEN i % 11 = 0 THEN 'special packed requests' ELSE 'order' END AS o_comment
    FROM range(1, 1501) AS t(i);
CREATE TABLE lineitem AS SELECT o_orderkey AS l_orderkey, number(o_orderkey * 4 + k, 'p', 1, 200) AS l_partkey,
    1 + (number(o_orderkey * 4 + k, 'p', 1, 200) * 7 + number(o_orderkey * 4 + k, 'k', 0, 3) * 13) % 50 AS l_suppkey,
    k + 1 AS l_linenumber, CAST(number(o_orderkey * 4 + k, 'q', 1, 50) AS DECIMAL(12, 2)) AS l_quantity,
    money(o_orderkey * 4 + k, 'e', 900, 90000) AS l_extendedprice,
    CAST(number(o_orderkey * 4 + k, 'd', 0, 10) / 100 AS DECIMAL(12, 2)) AS l_discount,
    CAST(number(o_orderkey * 4 + k, 't', 0, 8) / 100 AS DECIMAL(12, 2)) AS l_tax,
    pick(o_orderkey * 4 + k, 'r', ['R', 'A', 'N']) AS l_returnflag, pick(o_orderkey * 4 + k, 'l', ['O', 'F']) AS l_linestatus,
    o_orderdate + number(o_orderkey * 4 + k, 'h', 1, 121) AS l_shipdate, o_orderdate + number(o_orderkey * 4 + k, 'i', 30, 90) AS l_commitdate,
    o_orderdate + number(o_orderkey * 4 + k, 'j', 3, 151) AS l_receiptdate,
    pick(o_orderkey * 4 + k, 'n', ['DELIVER IN PERSON', 'NONE', 'COLLECT COD']) AS l_shipinstruct,
    pick(o_orderkey * 4 + k, 'o', ['AIR', 'AIR REG', 'MAIL', 'SHIP', 'TRUCK']) AS l_shipmode, 'line' AS l_comment
    FROM orders, range(4) AS b(k);
