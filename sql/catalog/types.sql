-- Types, and the dictionary and configuration of text search.

select 4 as place, 'type ' || t.name as key,
    case t.typtype
        when 'e' then format('create type %s as enum (%s)', t.name, (
            select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
            from pg_enum e where e.enumtypid = t.oid))
        when 'd' then format('create domain %s as %s', t.name, format_type(t.typbasetype, t.typtypmod))
        when 'r' then format('create type %s as range (subtype = %s)', t.name, (
            select r.rngsubtype::regtype from pg_range r where r.rngtypid = t.oid))
        else format('create type %s as (%s)', t.name, (
            select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
            from pg_attribute a where a.attrelid = t.typrelid and not a.attisdropped))
    end as create_statement,
    format('drop type %s', t.name) as drop_statement
from types t

union all
select 5, 'text search dictionary ' || d.oid::regdictionary,
    format('create text search dictionary %s (template = %I.%I%s)', d.oid::regdictionary, n.nspname, t.tmplname,
        ', ' || d.dictinitoption),
    format('drop text search dictionary %s', d.oid::regdictionary)
from pg_ts_dict d join pg_ts_template t on t.oid = d.dicttemplate join pg_namespace n on n.oid = t.tmplnamespace
where d.dictnamespace in (select oid from schemas)

union all
select 6, 'text search configuration ' || c.oid::regconfig,
    format('create text search configuration %s (parser = %I.%I)', c.oid::regconfig, n.nspname, p.prsname) || (
        select string_agg(format(E';\nalter text search configuration %s add mapping for %s with %s',
            c.oid::regconfig, m.words, m.dictionaries), '' order by m.words)
        from (
            select string_agg(w.alias, ', ' order by w.alias) as words, w.dictionaries
            from (
                select t.alias, string_agg(m.mapdict::regdictionary::text, ', ' order by m.mapseqno) as dictionaries
                from pg_ts_config_map m join ts_token_type(c.cfgparser) t on t.tokid = m.maptokentype
                where m.mapcfg = c.oid group by t.alias) w
            group by w.dictionaries) m),
    format('drop text search configuration %s', c.oid::regconfig)
from pg_ts_config c join pg_ts_parser p on p.oid = c.cfgparser join pg_namespace n on n.oid = p.prsnamespace
where c.cfgnamespace in (select oid from schemas)
