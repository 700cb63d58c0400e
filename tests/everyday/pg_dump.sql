-- tool: pg_dump, vacuumdb and reindexdb 18.6
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/everyday/with_pg_dump.py

-- @ pg_dump --schema-only
SELECT pg_catalog.set_config('search_path', '', false);

-- @ pg_dump --schema-only
SELECT pg_catalog.pg_is_in_recovery()

-- @ pg_dump --schema-only
SET DATESTYLE = ISO

-- @ pg_dump --schema-only
SET INTERVALSTYLE = POSTGRES

-- @ pg_dump --schema-only
SET extra_float_digits TO 3

-- @ pg_dump --schema-only
SET synchronize_seqscans TO off

-- @ pg_dump --schema-only
SET statement_timeout = 0

-- @ pg_dump --schema-only
SET lock_timeout = 0

-- @ pg_dump --schema-only
SET idle_in_transaction_session_timeout = 0

-- @ pg_dump --schema-only
SET transaction_timeout = 0

-- @ pg_dump --schema-only
SET row_security = off

-- @ pg_dump --schema-only
SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'

-- @ pg_dump --schema-only
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- @ pg_dump --schema-only
SELECT oid, rolname FROM pg_catalog.pg_roles ORDER BY 1

-- @ pg_dump --schema-only
SELECT x.tableoid, x.oid, x.extname, n.nspname, x.extrelocatable, x.extversion, x.extconfig, x.extcondition FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace

-- @ pg_dump --schema-only
SELECT classid, objid, refobjid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' ORDER BY 3

-- @ pg_dump --schema-only
SELECT n.tableoid, n.oid, n.nspname, n.nspowner, n.nspacl, acldefault('n', n.nspowner) AS acldefault FROM pg_namespace n

-- @ pg_dump --schema-only
SELECT c.tableoid, c.oid, c.relname, c.relnamespace, c.relkind, c.reltype, c.relowner, c.relchecks, c.relhasindex, c.relhasrules, c.relpages, c.reltuples, c.relallvisible, c.relallfrozen, c.relhastriggers, c.relpersistence, c.reloftype, c.relacl, acldefault(CASE WHEN c.relkind = 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner) AS acldefault, CASE WHEN c.relkind = 'f' THEN (SELECT ftserver FROM pg_catalog.pg_foreign_table WHERE ftrelid = c.oid) ELSE 0 END AS foreignserver, c.relfrozenxid, tc.relfrozenxid AS tfrozenxid, tc.oid AS toid, tc.relpages AS toastpages, tc.reloptions AS toast_reloptions, d.refobjid AS owning_tab, d.refobjsubid AS owning_col, tsp.spcname AS reltablespace, false AS relhasoids, c.relispopulated, c.relreplident, c.relrowsecurity, c.relforcerowsecurity, c.relminmxid, tc.relminmxid AS tminmxid, array_remove(array_remove(c.reloptions,'check_option=local'),'check_option=cascaded') AS reloptions, CASE WHEN 'check_option=local' = ANY (c.reloptions) THEN 'LOCAL'::text WHEN 'check_option=cascaded' = ANY (c.reloptions) THEN 'CASCADED'::text ELSE NULL END AS checkoption, am.amname, (d.deptype = 'i') IS TRUE AS is_identity_sequence, c.relispartition AS ispartition 
FROM pg_class c
LEFT JOIN pg_depend d ON (c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
LEFT JOIN pg_tablespace tsp ON (tsp.oid = c.reltablespace)
LEFT JOIN pg_am am ON (c.relam = am.oid)
LEFT JOIN pg_class tc ON (c.reltoastrelid = tc.oid AND tc.relkind = 't' AND c.relkind <> 'p')
WHERE c.relkind IN ('r', 'S', 'v', 'c', 'm', 'f', 'p')
ORDER BY c.oid

-- @ pg_dump --schema-only
LOCK TABLE public.customers, public.orders, public.parts, public.parts_2024, public.kinds, public.big IN ACCESS SHARE MODE

-- @ pg_dump --schema-only
SELECT p.tableoid, p.oid, p.proname, p.prolang, p.pronargs, p.proargtypes, p.prorettype, p.proacl, acldefault('f', p.proowner) AS acldefault, p.pronamespace, p.proowner FROM pg_proc p LEFT JOIN pg_init_privs pip ON (p.oid = pip.objoid AND pip.classoid = 'pg_proc'::regclass AND pip.objsubid = 0) WHERE p.prokind <> 'a'
  AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'i')
  AND (
  pronamespace != (SELECT oid FROM pg_namespace WHERE nspname = 'pg_catalog')
  OR EXISTS (SELECT 1 FROM pg_cast
  WHERE pg_cast.oid > 16383 
  AND p.oid = pg_cast.castfunc)
  OR EXISTS (SELECT 1 FROM pg_transform
  WHERE pg_transform.oid > 16383 AND 
  (p.oid = pg_transform.trffromsql
  OR p.oid = pg_transform.trftosql))
  OR p.proacl IS DISTINCT FROM pip.initprivs)

-- @ pg_dump --schema-only
SELECT tableoid, oid, typname, typnamespace, typacl, acldefault('T', typowner) AS acldefault, typowner, typelem, typrelid, typarray, CASE WHEN typrelid = 0 THEN ' '::"char" ELSE (SELECT relkind FROM pg_class WHERE oid = typrelid) END AS typrelkind, typtype, typisdefined, typname[0] = '_' AND typelem != 0 AND (SELECT typarray FROM pg_type te WHERE oid = pg_type.typelem) = oid AS isarray FROM pg_type

-- @ pg_dump --schema-only
PREPARE getDomainConstraints(pg_catalog.oid) AS
SELECT tableoid, oid, conname, pg_catalog.pg_get_constraintdef(oid) AS consrc, convalidated, contype FROM pg_catalog.pg_constraint WHERE contypid = $1 AND contype IN ('c', 'n') ORDER BY conname

-- @ pg_dump --schema-only
EXECUTE getDomainConstraints('36882')

-- @ pg_dump --schema-only
SELECT tableoid, oid, lanname, lanpltrusted, lanplcallfoid, laninline, lanvalidator, lanacl, acldefault('l', lanowner) AS acldefault, lanowner FROM pg_language WHERE lanispl ORDER BY oid

-- @ pg_dump --schema-only
SELECT p.tableoid, p.oid, p.proname AS aggname, p.pronamespace AS aggnamespace, p.pronargs, p.proargtypes, p.proowner, p.proacl AS aggacl, acldefault('f', p.proowner) AS acldefault FROM pg_proc p LEFT JOIN pg_init_privs pip ON (p.oid = pip.objoid AND pip.classoid = 'pg_proc'::regclass AND pip.objsubid = 0) WHERE p.prokind = 'a' AND (p.pronamespace != (SELECT oid FROM pg_namespace WHERE nspname = 'pg_catalog') OR p.proacl IS DISTINCT FROM pip.initprivs)

-- @ pg_dump --schema-only
SELECT tableoid, oid, oprname, oprnamespace, oprowner, oprkind, oprleft, oprright, oprcode::oid AS oprcode FROM pg_operator

-- @ pg_dump --schema-only
SELECT tableoid, oid, amname, amtype, amhandler::pg_catalog.regproc AS amhandler FROM pg_am

-- @ pg_dump --schema-only
SELECT tableoid, oid, opcmethod, opcname, opcnamespace, opcowner FROM pg_opclass

-- @ pg_dump --schema-only
SELECT tableoid, oid, opfmethod, opfname, opfnamespace, opfowner FROM pg_opfamily

-- @ pg_dump --schema-only
SELECT tableoid, oid, prsname, prsnamespace, prsstart::oid, prstoken::oid, prsend::oid, prsheadline::oid, prslextype::oid FROM pg_ts_parser

-- @ pg_dump --schema-only
SELECT tableoid, oid, tmplname, tmplnamespace, tmplinit::oid, tmpllexize::oid FROM pg_ts_template

-- @ pg_dump --schema-only
SELECT tableoid, oid, dictname, dictnamespace, dictowner, dicttemplate, dictinitoption FROM pg_ts_dict

-- @ pg_dump --schema-only
SELECT tableoid, oid, cfgname, cfgnamespace, cfgowner, cfgparser FROM pg_ts_config

-- @ pg_dump --schema-only
SELECT tableoid, oid, fdwname, fdwowner, fdwhandler::pg_catalog.regproc, fdwvalidator::pg_catalog.regproc, fdwacl, acldefault('F', fdwowner) AS acldefault, array_to_string(ARRAY(SELECT quote_ident(option_name) || ' ' || quote_literal(option_value) FROM pg_options_to_table(fdwoptions) ORDER BY option_name), E',
    ') AS fdwoptions FROM pg_foreign_data_wrapper

-- @ pg_dump --schema-only
SELECT tableoid, oid, srvname, srvowner, srvfdw, srvtype, srvversion, srvacl, acldefault('S', srvowner) AS acldefault, array_to_string(ARRAY(SELECT quote_ident(option_name) || ' ' || quote_literal(option_value) FROM pg_options_to_table(srvoptions) ORDER BY option_name), E',
    ') AS srvoptions FROM pg_foreign_server

-- @ pg_dump --schema-only
SELECT oid, tableoid, defaclrole, defaclnamespace, defaclobjtype, defaclacl, CASE WHEN defaclnamespace = 0 THEN acldefault(CASE WHEN defaclobjtype = 'S' THEN 's'::"char" ELSE defaclobjtype END, defaclrole) ELSE '{}' END AS acldefault FROM pg_default_acl

-- @ pg_dump --schema-only
SELECT tableoid, oid, collname, collnamespace, collowner, collencoding FROM pg_collation

-- @ pg_dump --schema-only
SELECT tableoid, oid, conname, connamespace, conowner FROM pg_conversion

-- @ pg_dump --schema-only
SELECT tableoid, oid, castsource, casttarget, castfunc, castcontext, castmethod FROM pg_cast c WHERE NOT EXISTS ( SELECT 1 FROM pg_range r WHERE c.castsource = r.rngtypid AND c.casttarget = r.rngmultitypid ) ORDER BY 3,4

-- @ pg_dump --schema-only
SELECT tableoid, oid, trftype, trflang, trffromsql::oid, trftosql::oid FROM pg_transform ORDER BY 3,4

-- @ pg_dump --schema-only
SELECT inhrelid, inhparent FROM pg_inherits

-- @ pg_dump --schema-only
SELECT e.tableoid, e.oid, evtname, evtenabled, evtevent, evtowner, array_to_string(array(select quote_literal(x)  from unnest(evttags) as t(x)), ', ') as evttags, e.evtfoid::regproc as evtfname FROM pg_event_trigger e ORDER BY e.oid

-- @ pg_dump --schema-only
SELECT conrelid, confrelid FROM pg_constraint JOIN pg_depend ON (objid = confrelid) WHERE contype = 'f' AND refclassid = 'pg_extension'::regclass AND classid = 'pg_class'::regclass;

-- @ pg_dump --schema-only
SELECT
a.attrelid,
a.attnum,
a.attname,
a.attstattarget,
a.attstorage,
t.typstorage,
a.atthasdef,
a.attisdropped,
a.attlen,
a.attalign,
a.attislocal,
pg_catalog.format_type(t.oid, a.atttypmod) AS atttypname,
array_to_string(a.attoptions, ', ') AS attoptions,
CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation ELSE 0 END AS attcollation,
pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.quote_ident(option_name) || ' ' || pg_catalog.quote_literal(option_value) FROM pg_catalog.pg_options_to_table(attfdwoptions) ORDER BY option_name), E',
    ') AS attfdwoptions,
co.conname AS notnull_name,
CASE WHEN co.convalidated THEN pt.description ELSE NULL END AS notnull_comment,
CASE WHEN NOT co.convalidated THEN co.oid ELSE NULL END AS notnull_invalidoid,
co.connoinherit AS notnull_noinherit,
co.conislocal AS notnull_islocal,
a.attcompression AS attcompression,
a.attidentity,
CASE WHEN a.atthasmissing AND NOT a.attisdropped THEN a.attmissingval ELSE null END AS attmissingval,
a.attgenerated
FROM unnest('{36831,36843,36854,36857,36860,36864,36900,36908}'::pg_catalog.oid[]) AS src(tbloid)
JOIN pg_catalog.pg_attribute a ON (src.tbloid = a.attrelid) LEFT JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid)
 LEFT JOIN pg_catalog.pg_constraint co ON (a.attrelid = co.conrelid
   AND co.contype = 'n' AND co.conkey = array[a.attnum])
 LEFT JOIN pg_catalog.pg_description pt ON (pt.classoid = co.tableoid AND pt.objoid = co.oid)
WHERE a.attnum > 0::pg_catalog.int2
ORDER BY a.attrelid, a.attnum

-- @ pg_dump --schema-only
SELECT a.tableoid, a.oid, adrelid, adnum, pg_catalog.pg_get_expr(adbin, adrelid) AS adsrc
FROM unnest('{36831}'::pg_catalog.oid[]) AS src(tbloid)
JOIN pg_catalog.pg_attrdef a ON (src.tbloid = a.adrelid)
ORDER BY a.adrelid, a.adnum

-- @ pg_dump --schema-only
SELECT c.tableoid, c.oid, conrelid, conname, pg_catalog.pg_get_constraintdef(c.oid) AS consrc, conislocal, convalidated FROM unnest('{36831}'::pg_catalog.oid[]) AS src(tbloid)
JOIN pg_catalog.pg_constraint c ON (src.tbloid = c.conrelid)
WHERE contype = 'c' ORDER BY c.conrelid, c.conname

-- @ pg_dump --schema-only
SELECT t.tableoid, t.oid, i.indrelid, t.relname AS indexname, t.relpages, t.reltuples, t.relallvisible, t.relallfrozen, pg_catalog.pg_get_indexdef(i.indexrelid) AS indexdef, i.indkey, i.indisclustered, c.contype, c.conname, c.condeferrable, c.condeferred, c.tableoid AS contableoid, c.oid AS conoid, pg_catalog.pg_get_constraintdef(c.oid, false) AS condef, CASE WHEN i.indexprs IS NOT NULL THEN (SELECT pg_catalog.array_agg(attname ORDER BY attnum)  FROM pg_catalog.pg_attribute   WHERE attrelid = i.indexrelid) ELSE NULL END AS indattnames, (SELECT spcname FROM pg_catalog.pg_tablespace s WHERE s.oid = t.reltablespace) AS tablespace, t.reloptions AS indreloptions, i.indisreplident, inh.inhparent AS parentidx, i.indnkeyatts AS indnkeyatts, i.indnatts AS indnatts, (SELECT pg_catalog.array_agg(attnum ORDER BY attnum)   FROM pg_catalog.pg_attribute   WHERE attrelid = i.indexrelid AND     attstattarget >= 0) AS indstatcols, (SELECT pg_catalog.array_agg(attstattarget ORDER BY attnum)   FROM pg_catalog.pg_attribute   WHERE attrelid = i.indexrelid AND     attstattarget >= 0) AS indstatvals, i.indnullsnotdistinct, c.conperiod FROM unnest('{36831,36843,36900}'::pg_catalog.oid[]) AS src(tbloid)
JOIN pg_catalog.pg_index i ON (src.tbloid = i.indrelid) JOIN pg_catalog.pg_class t ON (t.oid = i.indexrelid) JOIN pg_catalog.pg_class t2 ON (t2.oid = i.indrelid) LEFT JOIN pg_catalog.pg_constraint c ON (i.indrelid = c.conrelid AND i.indexrelid = c.conindid AND c.contype IN ('p','u','x')) LEFT JOIN pg_catalog.pg_inherits inh ON (inh.inhrelid = indexrelid) WHERE (i.indisvalid OR t2.relkind = 'p') AND i.indisready ORDER BY i.indrelid, indexname

-- @ pg_dump --schema-only
SELECT tableoid, oid, stxname, stxnamespace, stxowner, stxrelid, stxstattarget FROM pg_catalog.pg_statistic_ext

-- @ pg_dump --schema-only
SELECT c.tableoid, c.oid, conrelid, conname, confrelid, conindid, pg_catalog.pg_get_constraintdef(c.oid) AS condef
FROM unnest('{36831,36843,36854,36857,36860,36864,36875,36900,36908}'::pg_catalog.oid[]) AS src(tbloid)
JOIN pg_catalog.pg_constraint c ON (src.tbloid = c.conrelid)
WHERE contype = 'f' AND conparentid = 0 ORDER BY conrelid, conname

-- @ pg_dump --schema-only
SELECT t.tgrelid, t.tgname, pg_catalog.pg_get_triggerdef(t.oid, false) AS tgdef, t.tgenabled, t.tableoid, t.oid, t.tgparentid <> 0 AS tgispartition
FROM unnest('{36831,36843}'::pg_catalog.oid[]) AS src(tbloid)
JOIN pg_catalog.pg_trigger t ON (src.tbloid = t.tgrelid) LEFT JOIN pg_catalog.pg_trigger u ON (u.oid = t.tgparentid) WHERE ((NOT t.tgisinternal AND t.tgparentid = 0) OR t.tgenabled != u.tgenabled) ORDER BY t.tgrelid, t.tgname

-- @ pg_dump --schema-only
SELECT tableoid, oid, rulename, ev_class AS ruletable, ev_type, is_instead, ev_enabled FROM pg_rewrite ORDER BY oid

-- @ pg_dump --schema-only
SELECT pol.oid, pol.tableoid, pol.polrelid, pol.polname, pol.polcmd, pol.polpermissive, CASE WHEN pol.polroles = '{0}' THEN NULL ELSE    pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.quote_ident(rolname) from pg_catalog.pg_roles WHERE oid = ANY(pol.polroles)), ', ') END AS polroles, pg_catalog.pg_get_expr(pol.polqual, pol.polrelid) AS polqual, pg_catalog.pg_get_expr(pol.polwithcheck, pol.polrelid) AS polwithcheck FROM unnest('{36831,36843,36854,36857,36900,36908}'::pg_catalog.oid[]) AS src(tbloid)
JOIN pg_catalog.pg_policy pol ON (src.tbloid = pol.polrelid)

-- @ pg_dump --schema-only
SELECT p.tableoid, p.oid, p.pubname, p.pubowner, p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot, p.pubgencols FROM pg_publication p

-- @ pg_dump --schema-only
SELECT tableoid, oid, prpubid, prrelid, pg_catalog.pg_get_expr(prqual, prrelid) AS prrelqual, (CASE
  WHEN pr.prattrs IS NOT NULL THEN
    (SELECT array_agg(attname)
       FROM
         pg_catalog.generate_series(0, pg_catalog.array_upper(pr.prattrs::pg_catalog.int2[], 1)) s,
         pg_catalog.pg_attribute
      WHERE attrelid = pr.prrelid AND attnum = prattrs[s])
  ELSE NULL END) prattrs FROM pg_catalog.pg_publication_rel pr

-- @ pg_dump --schema-only
SELECT tableoid, oid, pnpubid, pnnspid FROM pg_catalog.pg_publication_namespace

-- @ pg_dump --schema-only
SELECT s.tableoid, s.oid, s.subname,
 s.subowner,
 s.subconninfo, s.subslotname, s.subsynccommit,
 s.subpublications,
 s.subbinary,
 s.substream,
 s.subtwophasestate,
 s.subdisableonerr,
 s.subpasswordrequired,
 s.subrunasowner,
 s.suborigin,
 NULL AS suboriginremotelsn,
 false AS subenabled,
 s.subfailover
FROM pg_subscription s
WHERE s.subdbid = (SELECT oid FROM pg_database
                   WHERE datname = current_database())

-- @ pg_dump --schema-only
SELECT classid, objid, refclassid, refobjid, deptype FROM pg_depend WHERE deptype != 'p' AND deptype != 'e'
UNION ALL
SELECT 'pg_opfamily'::regclass AS classid, amopfamily AS objid, refclassid, refobjid, deptype FROM pg_depend d, pg_amop o WHERE deptype NOT IN ('p', 'e', 'i') AND classid = 'pg_amop'::regclass AND objid = o.oid AND NOT (refclassid = 'pg_opfamily'::regclass AND amopfamily = refobjid)
UNION ALL
SELECT 'pg_opfamily'::regclass AS classid, amprocfamily AS objid, refclassid, refobjid, deptype FROM pg_depend d, pg_amproc p WHERE deptype NOT IN ('p', 'e', 'i') AND classid = 'pg_amproc'::regclass AND objid = p.oid AND NOT (refclassid = 'pg_opfamily'::regclass AND amprocfamily = refobjid)
ORDER BY 1,2

-- @ pg_dump --schema-only
SELECT DISTINCT attrelid FROM pg_attribute WHERE attacl IS NOT NULL

-- @ pg_dump --schema-only
SELECT objoid, classoid, objsubid, privtype, initprivs FROM pg_init_privs

-- @ pg_dump --schema-only
SELECT description, classoid, objoid, objsubid FROM pg_catalog.pg_description ORDER BY classoid, objoid, objsubid

-- @ pg_dump --schema-only
SELECT label, provider, classoid, objoid, objsubid FROM pg_catalog.pg_seclabels ORDER BY classoid, objoid, objsubid

-- @ pg_dump --schema-only
SELECT seqrelid, format_type(seqtypid, NULL), seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle, NULL, 'f' FROM pg_catalog.pg_sequence ORDER BY seqrelid

-- @ pg_dump --schema-only
SELECT pg_catalog.current_schemas(false)

-- @ pg_dump --schema-only
PREPARE dumpEnumType(pg_catalog.oid) AS
SELECT oid, enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = $1 ORDER BY enumsortorder

-- @ pg_dump --schema-only
EXECUTE dumpEnumType('36877')

-- @ pg_dump --schema-only
PREPARE dumpCompositeType(pg_catalog.oid) AS
SELECT a.attname, a.attnum, pg_catalog.format_type(a.atttypid, a.atttypmod) AS atttypdefn, a.attlen, a.attalign, a.attisdropped, CASE WHEN a.attcollation <> at.typcollation THEN a.attcollation ELSE 0 END AS attcollation FROM pg_catalog.pg_type ct JOIN pg_catalog.pg_attribute a ON a.attrelid = ct.typrelid LEFT JOIN pg_catalog.pg_type at ON at.oid = a.atttypid WHERE ct.oid = $1 ORDER BY a.attnum

-- @ pg_dump --schema-only
EXECUTE dumpCompositeType('36891')

-- @ pg_dump --schema-only
PREPARE dumpDomain(pg_catalog.oid) AS
SELECT t.typnotnull, pg_catalog.format_type(t.typbasetype, t.typtypmod) AS typdefn, pg_catalog.pg_get_expr(t.typdefaultbin, 'pg_catalog.pg_type'::pg_catalog.regclass) AS typdefaultbin, t.typdefault, CASE WHEN t.typcollation <> u.typcollation THEN t.typcollation ELSE 0 END AS typcollation FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_type u ON (t.typbasetype = u.oid) WHERE t.oid = $1

-- @ pg_dump --schema-only
EXECUTE dumpDomain('36882')

-- @ pg_dump --schema-only
PREPARE dumpFunc(pg_catalog.oid) AS
SELECT
proretset,
prosrc,
probin,
provolatile,
proisstrict,
prosecdef,
lanname,
proconfig,
procost,
prorows,
pg_catalog.pg_get_function_arguments(p.oid) AS funcargs,
pg_catalog.pg_get_function_identity_arguments(p.oid) AS funciargs,
pg_catalog.pg_get_function_result(p.oid) AS funcresult,
proleakproof,
array_to_string(protrftypes, ' ') AS protrftypes,
proparallel,
prokind,
prosupport,
pg_get_function_sqlbody(p.oid) AS prosqlbody
FROM pg_catalog.pg_proc p, pg_catalog.pg_language l
WHERE p.oid = $1 AND l.oid = p.prolang

-- @ pg_dump --schema-only
EXECUTE dumpFunc('36885')

-- @ pg_dump --schema-only
EXECUTE dumpFunc('36884')

-- @ pg_dump --schema-only
SELECT pg_catalog.format_type('23'::pg_catalog.oid, NULL)

-- @ pg_dump --schema-only
PREPARE getColumnACLs(pg_catalog.oid) AS
SELECT at.attname, at.attacl, '{}' AS acldefault, pip.privtype, pip.initprivs FROM pg_catalog.pg_attribute at LEFT JOIN pg_catalog.pg_init_privs pip ON (at.attrelid = pip.objoid AND pip.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND at.attnum = pip.objsubid) WHERE at.attrelid = $1 AND NOT at.attisdropped AND (at.attacl IS NOT NULL OR pip.initprivs IS NOT NULL) ORDER BY at.attnum

-- @ pg_dump --schema-only
EXECUTE getColumnACLs('6100')

-- @ pg_dump --schema-only
SELECT pg_get_partkeydef('36854')

-- @ pg_dump --schema-only
SELECT pg_catalog.pg_get_viewdef('36860'::pg_catalog.oid) AS viewdef

-- @ pg_dump --schema-only
PREPARE dumpTableAttach(pg_catalog.oid) AS
SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_class c WHERE c.oid = $1

-- @ pg_dump --schema-only
EXECUTE dumpTableAttach('36857')

-- @ pg_dump --schema-only
SELECT pg_catalog.pg_get_statisticsobjdef('36887'::pg_catalog.oid)

-- @ pg_dump --data-only
SELECT partrelid FROM pg_partitioned_table WHERE
(SELECT c.oid FROM pg_opclass c JOIN pg_am a ON c.opcmethod = a.oid
WHERE opcname = 'enum_ops' AND opcnamespace = 'pg_catalog'::regnamespace AND amname = 'hash') = ANY(partclass)

-- @ pg_dump --data-only
WITH RECURSIVE w AS ( SELECT d1.objid, d2.refobjid, c2.relkind AS refrelkind FROM pg_depend d1 JOIN pg_class c1 ON c1.oid = d1.objid AND c1.relkind = 'm' JOIN pg_rewrite r1 ON r1.ev_class = d1.objid JOIN pg_depend d2 ON d2.classid = 'pg_rewrite'::regclass AND d2.objid = r1.oid AND d2.refobjid <> d1.objid JOIN pg_class c2 ON c2.oid = d2.refobjid AND c2.relkind IN ('m','v') WHERE d1.classid = 'pg_class'::regclass UNION SELECT w.objid, d3.refobjid, c3.relkind FROM w JOIN pg_rewrite r3 ON r3.ev_class = w.refobjid JOIN pg_depend d3 ON d3.classid = 'pg_rewrite'::regclass AND d3.objid = r3.oid AND d3.refobjid <> w.refobjid JOIN pg_class c3 ON c3.oid = d3.refobjid AND c3.relkind IN ('m','v') ) SELECT 'pg_class'::regclass::oid AS classid, objid, refobjid FROM w WHERE refrelkind = 'm'

-- @ pg_dump --data-only
SELECT oid, lomowner, lomacl, acldefault('L', lomowner) AS acldefault FROM pg_largeobject_metadata ORDER BY lomowner, lomacl::pg_catalog.text, oid

-- @ pg_dump --data-only
SELECT seqrelid, format_type(seqtypid, NULL), seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle, last_value, is_called FROM pg_catalog.pg_sequence, pg_get_sequence_data(seqrelid) ORDER BY seqrelid;

-- @ pg_dump --data-only
COPY public.big (n, word) TO stdout;

-- @ pg_dump --data-only
COPY public.customers (id, name, email, phone, note) TO stdout;

-- @ pg_dump --data-only
COPY public.kinds (id, at, wall, day, span, tags, grid, doc, raw, uid, amount, ratio, yes, state, net, span4) TO stdout;

-- @ pg_dump --data-only
COPY public.orders (id, customer_id, total, at) TO stdout;

-- @ pg_dump --data-only
COPY public.parts_2024 (day, n) TO stdout;

-- @ pg_dump of one table
RESET search_path

-- @ pg_dump of one table
SELECT c.oid
FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_namespace n
     ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) ANY
    (array['r', 'S', 'v', 'm', 'f', 'p'])
  AND c.relname OPERATOR(pg_catalog.~) '^(customers)$' COLLATE pg_catalog.default
  AND pg_catalog.pg_table_is_visible(c.oid)

-- @ pg_dump of one table
LOCK TABLE public.customers IN ACCESS SHARE MODE

-- @ pg_dump of one table
DECLARE _pg_dump_cursor CURSOR FOR SELECT id, name, email, phone, note FROM ONLY public.customers

-- @ pg_dump of one table
FETCH 100 FROM _pg_dump_cursor

-- @ pg_dump of one table
CLOSE _pg_dump_cursor

-- @ vacuumdb --analyze-only
RESET search_path;

-- @ vacuumdb --analyze-only
SELECT c.relname, ns.nspname FROM pg_catalog.pg_class c
 JOIN pg_catalog.pg_namespace ns ON c.relnamespace OPERATOR(pg_catalog.=) ns.oid
 CROSS JOIN LATERAL (SELECT c.relkind IN ('p', 'I')) as p (inherited)
 LEFT JOIN pg_catalog.pg_class t ON c.reltoastrelid OPERATOR(pg_catalog.=) t.oid
 WHERE c.relpersistence OPERATOR(pg_catalog.!=) 't'
 AND c.relkind OPERATOR(pg_catalog.=) ANY (array['r', 'm'])
 ORDER BY c.relpages DESC;

-- @ vacuumdb --analyze-only
ANALYZE public.big;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_proc;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_attribute;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_description;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_statistic;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_type;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_rewrite;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_depend;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_class;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_operator;

-- @ vacuumdb --analyze-only
ANALYZE information_schema.sql_features;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_amop;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_amproc;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_constraint;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_index;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_ts_config_map;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_aggregate;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_init_privs;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_opclass;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_conversion;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_opfamily;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_cast;

-- @ vacuumdb --analyze-only
ANALYZE information_schema.sql_sizing;

-- @ vacuumdb --analyze-only
ANALYZE public.orders;

-- @ vacuumdb --analyze-only
ANALYZE public.kinds;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_authid;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_statistic_ext_data;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_attrdef;

-- @ vacuumdb --analyze-only
ANALYZE information_schema.sql_implementation_info;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_inherits;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_am;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_language;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_statistic_ext;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_trigger;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_enum;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_namespace;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_database;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_tablespace;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_auth_members;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_shdepend;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_shdescription;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_ts_config;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_ts_dict;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_ts_parser;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_ts_template;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_extension;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_policy;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_collation;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_partitioned_table;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_range;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_sequence;

-- @ vacuumdb --analyze-only
ANALYZE information_schema.sql_parts;

-- @ vacuumdb --analyze-only
ANALYZE public.customers;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_foreign_data_wrapper;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_foreign_server;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_event_trigger;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_largeobject_metadata;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_subscription;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_publication;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_replication_origin;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_user_mapping;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_foreign_table;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_default_acl;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_db_role_setting;

-- @ vacuumdb --analyze-only
ANALYZE public.parts_2024;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_seclabel;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_shseclabel;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_publication_namespace;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_parameter_acl;

-- @ vacuumdb --analyze-only
ANALYZE public.people_copy;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_publication_rel;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_subscription_rel;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_transform;

-- @ vacuumdb --analyze-only
ANALYZE pg_catalog.pg_largeobject;

-- @ vacuumdb --analyze-only
VACUUM (ONLY_DATABASE_STATS);

-- @ reindexdb of a table
SELECT c.relname, ns.nspname
 FROM pg_catalog.pg_class c, pg_catalog.pg_namespace ns
 WHERE c.relnamespace OPERATOR(pg_catalog.=) ns.oid
  AND c.oid OPERATOR(pg_catalog.=) 'customers'::pg_catalog.regclass;
