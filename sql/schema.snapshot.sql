-- sql/catalog of a fresh database in PostgreSQL 18

--- schema analytics
create schema analytics;

--- schema api
create schema api;

--- schema listener
create schema listener;

--- schema next_auth
create schema next_auth;

--- schema parley
create schema parley;

--- schema rules
create schema rules;

--- schema session
create schema session;

--- extension btree_gin
create extension btree_gin schema parley;

--- role parley_analyst
create role parley_analyst nologin;

--- role parley_api
create role parley_api nologin;

--- role parley_listener
create role parley_listener nologin;

--- role parley_web
create role parley_web nologin;

--- type parley.highlight
create type parley.highlight as (hit_pattern text, exact_pattern text, mark_pattern text, stems text[]);

--- type parley.message_filter
create type parley.message_filter as (type text, first_id uuid, before_id uuid);

--- type parley.page_request
create type parley.page_request as (number bigint, size bigint, skip bigint, after_id uuid, before_id uuid, is_ascending boolean);

--- type parley.publication
create type parley.publication as (name text, payload text, channels text[], terminated_user text);

--- type parley.read_state
create type parley.read_state as (last_read_message_id uuid, unread_count bigint);

--- type parley.search_query
create type parley.search_query as (tsv_query tsquery, index_query tsquery, phrase_query tsquery, sufficient_query tsquery, necessary_query tsquery, phrases text[], rank_query tsquery, verbatim_query tsquery, verbatim_phrase text);

--- text search dictionary rules.english
create text search dictionary rules.english (template = pg_catalog.snowball, language = 'english');

--- text search configuration rules.stems
create text search configuration rules.stems (parser = pg_catalog."default");
alter text search configuration rules.stems add mapping for asciihword, email, file, float, host, hword, hword_asciipart, hword_numpart, hword_part, int, numhword, numword, sfloat, uint, url, url_path, version, word with simple;
alter text search configuration rules.stems add mapping for asciiword with rules.english;

--- function rules.allowed_values(text)
CREATE OR REPLACE FUNCTION rules.allowed_values(field text)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE field WHEN 'type'::text THEN ARRAY['text'::text, 'code'::text, 'image'::text] WHEN 'theme'::text THEN ARRAY['light'::text, 'dark'::text, 'system'::text] WHEN 'responseStyle'::text THEN ARRAY['concise'::text, 'detailed'::text] WHEN 'role'::text THEN ARRAY['owner'::text] WHEN 'sort'::text THEN ARRAY['newest'::text, 'relevance'::text] ELSE NULL::text[] END;

--- function rules.can_be_blank(text)
CREATE OR REPLACE FUNCTION rules.can_be_blank(field text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (field = ANY (ARRAY['context'::text, 'search'::text]));

--- function rules.decompose(text,text)
CREATE OR REPLACE FUNCTION rules.decompose(value text, undivided text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 a10fd158c33f02ea6450c6d057098d11;

--- function rules.digits()
CREATE OR REPLACE FUNCTION rules.digits()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹߀߁߂߃߄߅߆߇߈߉०१२३४५६७८९০১২৩৪৫৬৭৮৯੦੧੨੩੪੫੬੭੮੯૦૧૨૩૪૫૬૭૮૯୦୧୨୩୪୫୬୭୮୯௦௧௨௩௪௫௬௭௮௯౦౧౨౩౪౫౬౭౮౯೦೧೨೩೪೫೬೭೮೯൦൧൨൩൪൫൬൭൮൯෦෧෨෩෪෫෬෭෮෯๐๑๒๓๔๕๖๗๘๙໐໑໒໓໔໕໖໗໘໙༠༡༢༣༤༥༦༧༨༩၀၁၂၃၄၅၆၇၈၉႐႑႒႓႔႕႖႗႘႙០១២៣៤៥៦៧៨៩᠐᠑᠒᠓᠔᠕᠖᠗᠘᠙᥆᥇᥈᥉᥊᥋᥌᥍᥎᥏᧐᧑᧒᧓᧔᧕᧖᧗᧘᧙᪀᪁᪂᪃᪄᪅᪆᪇᪈᪉᪐᪑᪒᪓᪔᪕᪖᪗᪘᪙᭐᭑᭒᭓᭔᭕᭖᭗᭘᭙᮰᮱᮲᮳᮴᮵᮶᮷᮸᮹᱀᱁᱂᱃᱄᱅᱆᱇᱈᱉᱐᱑᱒᱓᱔᱕᱖᱗᱘᱙꘠꘡꘢꘣꘤꘥꘦꘧꘨꘩꣐꣑꣒꣓꣔꣕꣖꣗꣘꣙꤀꤁꤂꤃꤄꤅꤆꤇꤈꤉꧐꧑꧒꧓꧔꧕꧖꧗꧘꧙꧰꧱꧲꧳꧴꧵꧶꧷꧸꧹꩐꩑꩒꩓꩔꩕꩖꩗꩘꩙꯰꯱꯲꯳꯴꯵꯶꯷꯸꯹𐒠𐒡𐒢𐒣𐒤𐒥𐒦𐒧𐒨𐒩𐴰𐴱𐴲𐴳𐴴𐴵𐴶𐴷𐴸𐴹𐵀𐵁𐵂𐵃𐵄𐵅𐵆𐵇𐵈𐵉𑁦𑁧𑁨𑁩𑁪𑁫𑁬𑁭𑁮𑁯𑃰𑃱𑃲𑃳𑃴𑃵𑃶𑃷𑃸𑃹𑄶𑄷𑄸𑄹𑄺𑄻𑄼𑄽𑄾𑄿𑇐𑇑𑇒𑇓𑇔𑇕𑇖𑇗𑇘𑇙𑋰𑋱𑋲𑋳𑋴𑋵𑋶𑋷𑋸𑋹𑑐𑑑𑑒𑑓𑑔𑑕𑑖𑑗𑑘𑑙𑓐𑓑𑓒𑓓𑓔𑓕𑓖𑓗𑓘𑓙𑙐𑙑𑙒𑙓𑙔𑙕𑙖𑙗𑙘𑙙𑛀𑛁𑛂𑛃𑛄𑛅𑛆𑛇𑛈𑛉𑛐𑛑𑛒𑛓𑛔𑛕𑛖𑛗𑛘𑛙𑛚𑛛𑛜𑛝𑛞𑛟𑛠𑛡𑛢𑛣𑜰𑜱𑜲𑜳𑜴𑜵𑜶𑜷𑜸𑜹𑣠𑣡𑣢𑣣𑣤𑣥𑣦𑣧𑣨𑣩𑥐𑥑𑥒𑥓𑥔𑥕𑥖𑥗𑥘𑥙𑯰𑯱𑯲𑯳𑯴𑯵𑯶𑯷𑯸𑯹𑱐𑱑𑱒𑱓𑱔𑱕𑱖𑱗𑱘𑱙𑵐𑵑𑵒𑵓𑵔𑵕𑵖𑵗𑵘𑵙𑶠𑶡𑶢𑶣𑶤𑶥𑶦𑶧𑶨𑶩𑷠𑷡𑷢𑷣𑷤𑷥𑷦𑷧𑷨𑷩𑽐𑽑𑽒𑽓𑽔𑽕𑽖𑽗𑽘𑽙𖄰𖄱𖄲𖄳𖄴𖄵𖄶𖄷𖄸𖄹𖩠𖩡𖩢𖩣𖩤𖩥𖩦𖩧𖩨𖩩𖫀𖫁𖫂𖫃𖫄𖫅𖫆𖫇𖫈𖫉𖭐𖭑𖭒𖭓𖭔𖭕𖭖𖭗𖭘𖭙𖵰𖵱𖵲𖵳𖵴𖵵𖵶𖵷𖵸𖵹𜳰𜳱𜳲𜳳𜳴𜳵𜳶𜳷𜳸𜳹𞅀𞅁𞅂𞅃𞅄𞅅𞅆𞅇𞅈𞅉𞋰𞋱𞋲𞋳𞋴𞋵𞋶𞋷𞋸𞋹𞓰𞓱𞓲𞓳𞓴𞓵𞓶𞓷𞓸𞓹𞗱𞗲𞗳𞗴𞗵𞗶𞗷𞗸𞗹𞗺𞥐𞥑𞥒𞥓𞥔𞥕𞥖𞥗𞥘𞥙'::text;

--- function rules.emoji()
CREATE OR REPLACE FUNCTION rules.emoji()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u24c2\u24dc\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299\ufdfa\ufdfb\ufdfd\U0001f000-\U0001faff'::text;

--- function rules.fold(text,integer)
CREATE OR REPLACE FUNCTION rules.fold(value text, max_length integer DEFAULT 100000)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 9984b3adac6f487e8ba31e05d3412404;

--- function rules.ignorable()
CREATE OR REPLACE FUNCTION rules.ignorable()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '\u00ad\u0300-\u034e\u0350-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u061c\u0640\u064b-\u065f\u0670\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20e2\u20e4-\u20f0\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e0fff'::text;

--- function rules.is_blank(text)
CREATE OR REPLACE FUNCTION rules.is_blank(value text)
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 245aa8066ee768fc0b3482f0a4e80bb2;

--- function rules.is_email(text)
CREATE OR REPLACE FUNCTION rules.is_email(value text)
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 3830a394bcda74a3c3b885012a193101;

--- function rules.is_image_url(text)
CREATE OR REPLACE FUNCTION rules.is_image_url(value text)
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 5bcdf3a18c57655ee20b19886f75cc51;

--- function rules.join_compounds(text)
CREATE OR REPLACE FUNCTION rules.join_compounds(folded text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6348a8f0f0d7d4ada903298d1a4b512a;

--- function rules.length_limits(text)
CREATE OR REPLACE FUNCTION rules.length_limits(field text)
 RETURNS int4range
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE field WHEN 'title'::text THEN int4range(1, 200, '[]'::text) WHEN 'name'::text THEN int4range(1, 100, '[]'::text) WHEN 'email'::text THEN int4range(3, 254, '[]'::text) WHEN 'content'::text THEN int4range(1, 32768, '[]'::text) WHEN 'search'::text THEN int4range(0, 1000, '[]'::text) WHEN 'context'::text THEN int4range(0, 10000, '[]'::text) WHEN 'userId'::text THEN int4range(1, 255, '[]'::text) ELSE int4range(1, 100, '[]'::text) END;

--- function rules.lower_email(text)
CREATE OR REPLACE FUNCTION rules.lower_email(value text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE STRICT
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 c4363d65620b45ca18d1f61ac1d7c8aa;

--- function rules.search_document(text)
CREATE OR REPLACE FUNCTION rules.search_document(content text, OUT tsv tsvector, OUT words text)
 RETURNS record
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 a922de8d03f70637851797f6879159ef;

--- function rules.separators()
CREATE OR REPLACE FUNCTION rules.separators()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '\u0001-/:-@[-`{-\u00a8\u00aa-\u00ad\u00af-\u00bf\u00d7\u00f7\u0589\u05be\u05c0\u05c3\u05f3\u05f4\u060c\u061b\u061c\u061f\u066a-\u066d\u06d4\u0964\u0965\u0f0b-\u0f0d\u104a-\u104f\u10fb\u1361-\u1368\u17d4-\u17da\u2000-\u203b\u203d-\u2048\u204a-\u20cf\u2117\u2190-\u2193\u219a-\u21a8\u21ab-\u2319\u231c-\u2327\u2329-\u23ce\u23d0-\u23e8\u23f4-\u23f7\u23fb-\u24c1\u24c3-\u24db\u24dd-\u25a9\u25ac-\u25b5\u25b7-\u25bf\u25c1-\u25fa\u25ff\u27c0-\u2933\u2936-\u2b04\u2b08-\u2b1a\u2b1d-\u2b4f\u2b51-\u2b54\u2b56-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u303e\u303f\u30fb\ue000-\uf8ff\ufe10-\ufe6f\ufff0-\uffff\U000f0000-\U0010ffff'::text;

--- function rules.split_words(text)
CREATE OR REPLACE FUNCTION rules.split_words(folded text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6fd902573fb70d26108e1fd556ea3f55;

--- function rules.stream_safe(text)
CREATE OR REPLACE FUNCTION rules.stream_safe(value text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 290098f90f2bd6d8c68592b65ae348ce;

--- function rules.tokenize(text)
CREATE OR REPLACE FUNCTION rules.tokenize(words text)
 RETURNS text[]
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 ad4fe62e52ee535758f5c000d9e1a306;

--- function rules.unspaced()
CREATE OR REPLACE FUNCTION rules.unspaced()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '\u0e01-\u0e3a\u0e40-\u0e4e\u0e80-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u17db-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u303c\u3041-\u30fa\u30fc-\u31ff\u3400-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff'::text;

--- function rules.uuid7_timestamp(uuid)
CREATE OR REPLACE FUNCTION rules.uuid7_timestamp(id uuid)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE STRICT
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 8b058472ab729fe903c0bb664acfb32f;

--- function rules.validation_error(text,text)
CREATE OR REPLACE FUNCTION rules.validation_error(field text, value text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 26ce8e940780f00120952f86c070cc50;

--- table next_auth.accounts
create table next_auth.accounts ();

--- table next_auth.sessions
create table next_auth.sessions ();

--- table next_auth.users
create table next_auth.users ();

--- table next_auth.verification_token
create table next_auth.verification_token ();

--- table parley.chat_images
create table parley.chat_images ();

--- table parley.chats
create table parley.chats ();

--- table parley.deleted_users
create table parley.deleted_users ();

--- table parley.idempotency_keys
create table parley.idempotency_keys ();

--- table parley.image_cleanup
create table parley.image_cleanup ();

--- table parley.letter_variants
create table parley.letter_variants ();

--- table parley.limits
create table parley.limits ();

--- table parley.members
create table parley.members ();

--- table parley.message_blocks
create table parley.message_blocks ();

--- table parley.message_words
create table parley.message_words (chat_id uuid) partition by HASH (chat_id);

--- table parley.messages
create table parley.messages ();

--- table parley.outbox
create table parley.outbox ();

--- table parley.outbox_queue
create table parley.outbox_queue ();

--- table parley.outbox_state
create table parley.outbox_state ();

--- table parley.pseudonym_key
create table parley.pseudonym_key ();

--- table parley.read_markers
create table parley.read_markers ();

--- table parley.repeatable_migrations
create table parley.repeatable_migrations ();

--- table parley.rollup_active_keys
create table parley.rollup_active_keys ();

--- table parley.rollup_chat_sizes
create table parley.rollup_chat_sizes ();

--- table parley.rollup_chats
create table parley.rollup_chats ();

--- table parley.rollup_periods
create table parley.rollup_periods ();

--- table parley.rollup_responses
create table parley.rollup_responses ();

--- table parley.rollup_retention
create table parley.rollup_retention ();

--- table parley.rollup_settings
create table parley.rollup_settings ();

--- table parley.rollup_state
create table parley.rollup_state ();

--- table parley.rollup_users
create table parley.rollup_users ();

--- table parley.settings
create table parley.settings ();

--- column next_auth.accounts."providerAccountId"
alter table next_auth.accounts add column if not exists "providerAccountId" text;

--- column next_auth.accounts."userId"
alter table next_auth.accounts add column if not exists "userId" text;

--- column next_auth.accounts.access_token
alter table next_auth.accounts add column if not exists access_token text;

--- column next_auth.accounts.expires_at
alter table next_auth.accounts add column if not exists expires_at bigint;

--- column next_auth.accounts.id
alter table next_auth.accounts add column if not exists id integer;

--- column next_auth.accounts.id_token
alter table next_auth.accounts add column if not exists id_token text;

--- column next_auth.accounts.provider
alter table next_auth.accounts add column if not exists provider text;

--- column next_auth.accounts.refresh_token
alter table next_auth.accounts add column if not exists refresh_token text;

--- column next_auth.accounts.scope
alter table next_auth.accounts add column if not exists scope text;

--- column next_auth.accounts.session_state
alter table next_auth.accounts add column if not exists session_state text;

--- column next_auth.accounts.token_type
alter table next_auth.accounts add column if not exists token_type text;

--- column next_auth.accounts.type
alter table next_auth.accounts add column if not exists type text;

--- column next_auth.sessions."sessionToken"
alter table next_auth.sessions add column if not exists "sessionToken" text;

--- column next_auth.sessions."userId"
alter table next_auth.sessions add column if not exists "userId" text;

--- column next_auth.sessions.expires
alter table next_auth.sessions add column if not exists expires timestamp with time zone;

--- column next_auth.sessions.id
alter table next_auth.sessions add column if not exists id integer;

--- column next_auth.users."emailVerified"
alter table next_auth.users add column if not exists "emailVerified" timestamp with time zone;

--- column next_auth.users.email
alter table next_auth.users add column if not exists email text;

--- column next_auth.users.id
alter table next_auth.users add column if not exists id text;

--- column next_auth.users.image
alter table next_auth.users add column if not exists image text;

--- column next_auth.users.name
alter table next_auth.users add column if not exists name text;

--- column next_auth.users.updated_at
alter table next_auth.users add column if not exists updated_at timestamp with time zone;

--- column next_auth.verification_token.expires
alter table next_auth.verification_token add column if not exists expires timestamp with time zone;

--- column next_auth.verification_token.identifier
alter table next_auth.verification_token add column if not exists identifier text;

--- column next_auth.verification_token.token
alter table next_auth.verification_token add column if not exists token text;

--- column parley.chat_images.chat_id
alter table parley.chat_images add column if not exists chat_id uuid;

--- column parley.chat_images.created_at
alter table parley.chat_images add column if not exists created_at timestamp with time zone;

--- column parley.chat_images.name
alter table parley.chat_images add column if not exists name text;

--- column parley.chat_images.user_id
alter table parley.chat_images add column if not exists user_id text;

--- column parley.chats.counted_messages
alter table parley.chats add column if not exists counted_messages bigint;

--- column parley.chats.created_at
alter table parley.chats add column if not exists created_at timestamp with time zone generated always as (rules.uuid7_timestamp(id)) stored;

--- column parley.chats.gap
alter table parley.chats add column if not exists gap int8range;

--- column parley.chats.id
alter table parley.chats add column if not exists id uuid;

--- column parley.chats.is_being_removed
alter table parley.chats add column if not exists is_being_removed boolean;

--- column parley.chats.last_message_id
alter table parley.chats add column if not exists last_message_id uuid;

--- column parley.chats.lineage
alter table parley.chats add column if not exists lineage text;

--- column parley.chats.member_count
alter table parley.chats add column if not exists member_count bigint;

--- column parley.chats.message_count
alter table parley.chats add column if not exists message_count bigint;

--- column parley.chats.owner_id
alter table parley.chats add column if not exists owner_id text;

--- column parley.chats.read_events
alter table parley.chats add column if not exists read_events bigint;

--- column parley.chats.seq
alter table parley.chats add column if not exists seq bigint;

--- column parley.chats.title
alter table parley.chats add column if not exists title text;

--- column parley.chats.updated_at
alter table parley.chats add column if not exists updated_at timestamp with time zone;

--- column parley.deleted_users.deleted_at
alter table parley.deleted_users add column if not exists deleted_at timestamp with time zone;

--- column parley.deleted_users.is_being_removed
alter table parley.deleted_users add column if not exists is_being_removed boolean;

--- column parley.deleted_users.user_id
alter table parley.deleted_users add column if not exists user_id text;

--- column parley.idempotency_keys.created_at
alter table parley.idempotency_keys add column if not exists created_at timestamp with time zone;

--- column parley.idempotency_keys.fingerprint
alter table parley.idempotency_keys add column if not exists fingerprint bytea;

--- column parley.idempotency_keys.key
alter table parley.idempotency_keys add column if not exists key text;

--- column parley.idempotency_keys.response
alter table parley.idempotency_keys add column if not exists response json;

--- column parley.idempotency_keys.user_id
alter table parley.idempotency_keys add column if not exists user_id text;

--- column parley.image_cleanup.due
alter table parley.image_cleanup add column if not exists due timestamp with time zone;

--- column parley.image_cleanup.id
alter table parley.image_cleanup add column if not exists id bigint;

--- column parley.image_cleanup.is_being_removed
alter table parley.image_cleanup add column if not exists is_being_removed boolean;

--- column parley.image_cleanup.name
alter table parley.image_cleanup add column if not exists name text;

--- column parley.letter_variants.letter
alter table parley.letter_variants add column if not exists letter text;

--- column parley.letter_variants.variants
alter table parley.letter_variants add column if not exists variants text;

--- column parley.limits.id
alter table parley.limits add column if not exists id boolean;

--- column parley.limits.members_per_chat
alter table parley.limits add column if not exists members_per_chat bigint;

--- column parley.members.chat_id
alter table parley.members add column if not exists chat_id uuid;

--- column parley.members.joined_at
alter table parley.members add column if not exists joined_at timestamp with time zone;

--- column parley.members.joined_seq
alter table parley.members add column if not exists joined_seq bigint;

--- column parley.members.user_id
alter table parley.members add column if not exists user_id text;

--- column parley.members.was_authorized
alter table parley.members add column if not exists was_authorized boolean;

--- column parley.message_blocks.before_id
alter table parley.message_blocks add column if not exists before_id uuid;

--- column parley.message_blocks.by_type
alter table parley.message_blocks add column if not exists by_type jsonb;

--- column parley.message_blocks.chat_id
alter table parley.message_blocks add column if not exists chat_id uuid;

--- column parley.message_blocks.first_id
alter table parley.message_blocks add column if not exists first_id uuid;

--- column parley.message_blocks.messages
alter table parley.message_blocks add column if not exists messages integer;

--- column parley.message_words.chat_id
alter table parley.message_words add column if not exists chat_id uuid;

--- column parley.message_words.id
alter table parley.message_words add column if not exists id uuid;

--- column parley.message_words.tsv
alter table parley.message_words add column if not exists tsv tsvector;

--- column parley.message_words.type
alter table parley.message_words add column if not exists type text;

--- column parley.message_words.words
alter table parley.message_words add column if not exists words text;

--- column parley.messages.chat_id
alter table parley.messages add column if not exists chat_id uuid;

--- column parley.messages.content
alter table parley.messages add column if not exists content text;

--- column parley.messages.created_at
alter table parley.messages add column if not exists created_at timestamp with time zone generated always as (rules.uuid7_timestamp(id)) stored;

--- column parley.messages.id
alter table parley.messages add column if not exists id uuid;

--- column parley.messages.type
alter table parley.messages add column if not exists type text;

--- column parley.messages.updated_at
alter table parley.messages add column if not exists updated_at timestamp with time zone;

--- column parley.messages.user_id
alter table parley.messages add column if not exists user_id text;

--- column parley.outbox.changed_at
alter table parley.outbox add column if not exists changed_at timestamp with time zone;

--- column parley.outbox.chat_id
alter table parley.outbox add column if not exists chat_id uuid;

--- column parley.outbox.dead_lettered_at
alter table parley.outbox add column if not exists dead_lettered_at timestamp with time zone;

--- column parley.outbox.error
alter table parley.outbox add column if not exists error text;

--- column parley.outbox.event
alter table parley.outbox add column if not exists event text;

--- column parley.outbox.id
alter table parley.outbox add column if not exists id bigint;

--- column parley.outbox.nonce
alter table parley.outbox add column if not exists nonce text;

--- column parley.outbox.on_user_channels
alter table parley.outbox add column if not exists on_user_channels boolean;

--- column parley.outbox.payload
alter table parley.outbox add column if not exists payload json;

--- column parley.outbox.recipients
alter table parley.outbox add column if not exists recipients text[];

--- column parley.outbox.recorded_at
alter table parley.outbox add column if not exists recorded_at timestamp with time zone;

--- column parley.outbox.removed_user
alter table parley.outbox add column if not exists removed_user text;

--- column parley.outbox.seq
alter table parley.outbox add column if not exists seq bigint;

--- column parley.outbox.terminates_connections
alter table parley.outbox add column if not exists terminates_connections boolean;

--- column parley.outbox.transaction_id
alter table parley.outbox add column if not exists transaction_id xid8;

--- column parley.outbox_queue.chat_id
alter table parley.outbox_queue add column if not exists chat_id uuid;

--- column parley.outbox_queue.id
alter table parley.outbox_queue add column if not exists id bigint;

--- column parley.outbox_state.epoch
alter table parley.outbox_state add column if not exists epoch uuid;

--- column parley.outbox_state.id
alter table parley.outbox_state add column if not exists id boolean;

--- column parley.outbox_state.removed_until
alter table parley.outbox_state add column if not exists removed_until xid8;

--- column parley.pseudonym_key.id
alter table parley.pseudonym_key add column if not exists id boolean;

--- column parley.pseudonym_key.inner_key
alter table parley.pseudonym_key add column if not exists inner_key bytea;

--- column parley.pseudonym_key.outer_key
alter table parley.pseudonym_key add column if not exists outer_key bytea;

--- column parley.read_markers.chat_id
alter table parley.read_markers add column if not exists chat_id uuid;

--- column parley.read_markers.last_read_message_id
alter table parley.read_markers add column if not exists last_read_message_id uuid;

--- column parley.read_markers.user_id
alter table parley.read_markers add column if not exists user_id text;

--- column parley.repeatable_migrations.applied_at
alter table parley.repeatable_migrations add column if not exists applied_at timestamp with time zone;

--- column parley.repeatable_migrations.checksum
alter table parley.repeatable_migrations add column if not exists checksum text;

--- column parley.repeatable_migrations.name
alter table parley.repeatable_migrations add column if not exists name text;

--- column parley.rollup_active_keys.grain
alter table parley.rollup_active_keys add column if not exists grain text;

--- column parley.rollup_active_keys.key
alter table parley.rollup_active_keys add column if not exists key uuid;

--- column parley.rollup_active_keys.kind
alter table parley.rollup_active_keys add column if not exists kind text;

--- column parley.rollup_active_keys.starts_at
alter table parley.rollup_active_keys add column if not exists starts_at timestamp with time zone;

--- column parley.rollup_chat_sizes.chats
alter table parley.rollup_chat_sizes add column if not exists chats bigint;

--- column parley.rollup_chat_sizes.inactive_chats
alter table parley.rollup_chat_sizes add column if not exists inactive_chats bigint;

--- column parley.rollup_chat_sizes.inactive_messages
alter table parley.rollup_chat_sizes add column if not exists inactive_messages bigint;

--- column parley.rollup_chat_sizes.members
alter table parley.rollup_chat_sizes add column if not exists members bigint;

--- column parley.rollup_chat_sizes.messages
alter table parley.rollup_chat_sizes add column if not exists messages bigint;

--- column parley.rollup_chat_sizes.min_age_days
alter table parley.rollup_chat_sizes add column if not exists min_age_days bigint;

--- column parley.rollup_chat_sizes.min_messages
alter table parley.rollup_chat_sizes add column if not exists min_messages bigint;

--- column parley.rollup_chats.created_on
alter table parley.rollup_chats add column if not exists created_on date;

--- column parley.rollup_chats.key
alter table parley.rollup_chats add column if not exists key uuid;

--- column parley.rollup_chats.last_day_messages
alter table parley.rollup_chats add column if not exists last_day_messages bigint;

--- column parley.rollup_chats.last_message_on
alter table parley.rollup_chats add column if not exists last_message_on date;

--- column parley.rollup_chats.messages
alter table parley.rollup_chats add column if not exists messages bigint;

--- column parley.rollup_chats.previous_message_on
alter table parley.rollup_chats add column if not exists previous_message_on date;

--- column parley.rollup_periods.active_chats
alter table parley.rollup_periods add column if not exists active_chats bigint;

--- column parley.rollup_periods.active_users
alter table parley.rollup_periods add column if not exists active_users bigint;

--- column parley.rollup_periods.code_messages
alter table parley.rollup_periods add column if not exists code_messages bigint;

--- column parley.rollup_periods.grain
alter table parley.rollup_periods add column if not exists grain text;

--- column parley.rollup_periods.image_messages
alter table parley.rollup_periods add column if not exists image_messages bigint;

--- column parley.rollup_periods.messages
alter table parley.rollup_periods add column if not exists messages bigint;

--- column parley.rollup_periods.starts_at
alter table parley.rollup_periods add column if not exists starts_at timestamp with time zone;

--- column parley.rollup_periods.text_messages
alter table parley.rollup_periods add column if not exists text_messages bigint;

--- column parley.rollup_responses.bucket
alter table parley.rollup_responses add column if not exists bucket bigint;

--- column parley.rollup_responses.day
alter table parley.rollup_responses add column if not exists day date;

--- column parley.rollup_responses.responses
alter table parley.rollup_responses add column if not exists responses bigint;

--- column parley.rollup_retention.cohort
alter table parley.rollup_retention add column if not exists cohort date;

--- column parley.rollup_retention.users
alter table parley.rollup_retention add column if not exists users bigint;

--- column parley.rollup_retention.week
alter table parley.rollup_retention add column if not exists week date;

--- column parley.rollup_settings.id
alter table parley.rollup_settings add column if not exists id bigint;

--- column parley.rollup_settings.setting
alter table parley.rollup_settings add column if not exists setting text;

--- column parley.rollup_settings.users
alter table parley.rollup_settings add column if not exists users bigint;

--- column parley.rollup_settings.value
alter table parley.rollup_settings add column if not exists value text;

--- column parley.rollup_state.as_of
alter table parley.rollup_state add column if not exists as_of timestamp with time zone;

--- column parley.rollup_state.backfill_chat
alter table parley.rollup_state add column if not exists backfill_chat uuid;

--- column parley.rollup_state.backfill_id
alter table parley.rollup_state add column if not exists backfill_id uuid;

--- column parley.rollup_state.backfill_until
alter table parley.rollup_state add column if not exists backfill_until uuid;

--- column parley.rollup_state.backfill_week
alter table parley.rollup_state add column if not exists backfill_week date;

--- column parley.rollup_state.barrier_transaction
alter table parley.rollup_state add column if not exists barrier_transaction xid8;

--- column parley.rollup_state.chats_and_settings_as_of
alter table parley.rollup_state add column if not exists chats_and_settings_as_of timestamp with time zone;

--- column parley.rollup_state.cutoff_at
alter table parley.rollup_state add column if not exists cutoff_at timestamp with time zone;

--- column parley.rollup_state.cutoff_event
alter table parley.rollup_state add column if not exists cutoff_event bigint;

--- column parley.rollup_state.id
alter table parley.rollup_state add column if not exists id boolean;

--- column parley.rollup_state.last_counted_event
alter table parley.rollup_state add column if not exists last_counted_event bigint;

--- column parley.rollup_users.cohort
alter table parley.rollup_users add column if not exists cohort date;

--- column parley.rollup_users.key
alter table parley.rollup_users add column if not exists key uuid;

--- column parley.rollup_users.last_day_messages
alter table parley.rollup_users add column if not exists last_day_messages bigint;

--- column parley.rollup_users.last_message_on
alter table parley.rollup_users add column if not exists last_message_on date;

--- column parley.rollup_users.messages
alter table parley.rollup_users add column if not exists messages bigint;

--- column parley.rollup_users.previous_message_on
alter table parley.rollup_users add column if not exists previous_message_on date;

--- column parley.settings.always_show_code
alter table parley.settings add column if not exists always_show_code boolean;

--- column parley.settings.context
alter table parley.settings add column if not exists context text;

--- column parley.settings.is_premium
alter table parley.settings add column if not exists is_premium boolean;

--- column parley.settings.model
alter table parley.settings add column if not exists model text;

--- column parley.settings.response_style
alter table parley.settings add column if not exists response_style text;

--- column parley.settings.runtime
alter table parley.settings add column if not exists runtime text;

--- column parley.settings.theme
alter table parley.settings add column if not exists theme text;

--- column parley.settings.updated_at
alter table parley.settings add column if not exists updated_at timestamp with time zone;

--- column parley.settings.user_id
alter table parley.settings add column if not exists user_id text;

--- table parley.message_words_0
create table parley.message_words_0 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 0);

--- table parley.message_words_1
create table parley.message_words_1 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 1);

--- table parley.message_words_10
create table parley.message_words_10 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 10);

--- table parley.message_words_11
create table parley.message_words_11 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 11);

--- table parley.message_words_12
create table parley.message_words_12 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 12);

--- table parley.message_words_13
create table parley.message_words_13 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 13);

--- table parley.message_words_14
create table parley.message_words_14 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 14);

--- table parley.message_words_15
create table parley.message_words_15 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 15);

--- table parley.message_words_2
create table parley.message_words_2 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 2);

--- table parley.message_words_3
create table parley.message_words_3 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 3);

--- table parley.message_words_4
create table parley.message_words_4 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 4);

--- table parley.message_words_5
create table parley.message_words_5 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 5);

--- table parley.message_words_6
create table parley.message_words_6 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 6);

--- table parley.message_words_7
create table parley.message_words_7 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 7);

--- table parley.message_words_8
create table parley.message_words_8 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 8);

--- table parley.message_words_9
create table parley.message_words_9 partition of parley.message_words FOR VALUES WITH (modulus 16, remainder 9);

--- default of next_auth.users.id
alter table next_auth.users alter column id set default (gen_random_uuid())::text;

--- default of next_auth.users.updated_at
alter table next_auth.users alter column updated_at set default date_trunc('milliseconds'::text, now());

--- default of parley.chat_images.created_at
alter table parley.chat_images alter column created_at set default now();

--- default of parley.chats.counted_messages
alter table parley.chats alter column counted_messages set default 0;

--- default of parley.chats.is_being_removed
alter table parley.chats alter column is_being_removed set default false;

--- default of parley.chats.lineage
alter table parley.chats alter column lineage set default ''::text;

--- default of parley.chats.member_count
alter table parley.chats alter column member_count set default 0;

--- default of parley.chats.message_count
alter table parley.chats alter column message_count set default 0;

--- default of parley.chats.owner_id
alter table parley.chats alter column owner_id set default NULLIF(current_setting('parley.user_id'::text, true), ''::text);

--- default of parley.chats.read_events
alter table parley.chats alter column read_events set default 0;

--- default of parley.chats.seq
alter table parley.chats alter column seq set default 0;

--- default of parley.deleted_users.deleted_at
alter table parley.deleted_users alter column deleted_at set default now();

--- default of parley.deleted_users.is_being_removed
alter table parley.deleted_users alter column is_being_removed set default false;

--- default of parley.idempotency_keys.created_at
alter table parley.idempotency_keys alter column created_at set default now();

--- default of parley.image_cleanup.due
alter table parley.image_cleanup alter column due set default now();

--- default of parley.image_cleanup.is_being_removed
alter table parley.image_cleanup alter column is_being_removed set default false;

--- default of parley.limits.id
alter table parley.limits alter column id set default true;

--- default of parley.limits.members_per_chat
alter table parley.limits alter column members_per_chat set default 5000;

--- default of parley.members.joined_at
alter table parley.members alter column joined_at set default date_trunc('milliseconds'::text, clock_timestamp());

--- default of parley.members.joined_seq
alter table parley.members alter column joined_seq set default 0;

--- default of parley.members.was_authorized
alter table parley.members alter column was_authorized set default false;

--- default of parley.messages.type
alter table parley.messages alter column type set default 'text'::text;

--- default of parley.messages.user_id
alter table parley.messages alter column user_id set default NULLIF(current_setting('parley.user_id'::text, true), ''::text);

--- default of parley.outbox.on_user_channels
alter table parley.outbox alter column on_user_channels set default false;

--- default of parley.outbox.recorded_at
alter table parley.outbox alter column recorded_at set default clock_timestamp();

--- default of parley.outbox.terminates_connections
alter table parley.outbox alter column terminates_connections set default false;

--- default of parley.outbox.transaction_id
alter table parley.outbox alter column transaction_id set default pg_current_xact_id();

--- default of parley.outbox_state.epoch
alter table parley.outbox_state alter column epoch set default gen_random_uuid();

--- default of parley.outbox_state.id
alter table parley.outbox_state alter column id set default true;

--- default of parley.pseudonym_key.id
alter table parley.pseudonym_key alter column id set default true;

--- default of parley.repeatable_migrations.applied_at
alter table parley.repeatable_migrations alter column applied_at set default clock_timestamp();

--- default of parley.rollup_state.id
alter table parley.rollup_state alter column id set default true;

--- default of parley.rollup_state.last_counted_event
alter table parley.rollup_state alter column last_counted_event set default 0;

--- default of parley.settings.always_show_code
alter table parley.settings alter column always_show_code set default false;

--- default of parley.settings.context
alter table parley.settings alter column context set default ''::text;

--- default of parley.settings.is_premium
alter table parley.settings alter column is_premium set default false;

--- default of parley.settings.model
alter table parley.settings alter column model set default 'default'::text;

--- default of parley.settings.response_style
alter table parley.settings alter column response_style set default 'detailed'::text;

--- default of parley.settings.runtime
alter table parley.settings alter column runtime set default 'default'::text;

--- default of parley.settings.theme
alter table parley.settings alter column theme set default 'system'::text;

--- default of parley.settings.updated_at
alter table parley.settings alter column updated_at set default date_trunc('milliseconds'::text, clock_timestamp());

--- default of parley.settings.user_id
alter table parley.settings alter column user_id set default NULLIF(current_setting('parley.user_id'::text, true), ''::text);

--- not null of next_auth.accounts."providerAccountId"
alter table next_auth.accounts alter column "providerAccountId" set not null;

--- not null of next_auth.accounts."userId"
alter table next_auth.accounts alter column "userId" set not null;

--- not null of next_auth.accounts.id
alter table next_auth.accounts alter column id set not null;

--- not null of next_auth.accounts.provider
alter table next_auth.accounts alter column provider set not null;

--- not null of next_auth.accounts.type
alter table next_auth.accounts alter column type set not null;

--- not null of next_auth.sessions."sessionToken"
alter table next_auth.sessions alter column "sessionToken" set not null;

--- not null of next_auth.sessions."userId"
alter table next_auth.sessions alter column "userId" set not null;

--- not null of next_auth.sessions.expires
alter table next_auth.sessions alter column expires set not null;

--- not null of next_auth.sessions.id
alter table next_auth.sessions alter column id set not null;

--- not null of next_auth.users.id
alter table next_auth.users alter column id set not null;

--- not null of next_auth.users.updated_at
alter table next_auth.users alter column updated_at set not null;

--- not null of next_auth.verification_token.expires
alter table next_auth.verification_token alter column expires set not null;

--- not null of next_auth.verification_token.identifier
alter table next_auth.verification_token alter column identifier set not null;

--- not null of next_auth.verification_token.token
alter table next_auth.verification_token alter column token set not null;

--- not null of parley.chat_images.chat_id
alter table parley.chat_images alter column chat_id set not null;

--- not null of parley.chat_images.created_at
alter table parley.chat_images alter column created_at set not null;

--- not null of parley.chat_images.name
alter table parley.chat_images alter column name set not null;

--- not null of parley.chat_images.user_id
alter table parley.chat_images alter column user_id set not null;

--- not null of parley.chats.counted_messages
alter table parley.chats alter column counted_messages set not null;

--- not null of parley.chats.created_at
alter table parley.chats alter column created_at set not null;

--- not null of parley.chats.id
alter table parley.chats alter column id set not null;

--- not null of parley.chats.is_being_removed
alter table parley.chats alter column is_being_removed set not null;

--- not null of parley.chats.lineage
alter table parley.chats alter column lineage set not null;

--- not null of parley.chats.member_count
alter table parley.chats alter column member_count set not null;

--- not null of parley.chats.message_count
alter table parley.chats alter column message_count set not null;

--- not null of parley.chats.read_events
alter table parley.chats alter column read_events set not null;

--- not null of parley.chats.seq
alter table parley.chats alter column seq set not null;

--- not null of parley.chats.title
alter table parley.chats alter column title set not null;

--- not null of parley.chats.updated_at
alter table parley.chats alter column updated_at set not null;

--- not null of parley.deleted_users.deleted_at
alter table parley.deleted_users alter column deleted_at set not null;

--- not null of parley.deleted_users.is_being_removed
alter table parley.deleted_users alter column is_being_removed set not null;

--- not null of parley.deleted_users.user_id
alter table parley.deleted_users alter column user_id set not null;

--- not null of parley.idempotency_keys.created_at
alter table parley.idempotency_keys alter column created_at set not null;

--- not null of parley.idempotency_keys.fingerprint
alter table parley.idempotency_keys alter column fingerprint set not null;

--- not null of parley.idempotency_keys.key
alter table parley.idempotency_keys alter column key set not null;

--- not null of parley.idempotency_keys.response
alter table parley.idempotency_keys alter column response set not null;

--- not null of parley.idempotency_keys.user_id
alter table parley.idempotency_keys alter column user_id set not null;

--- not null of parley.image_cleanup.due
alter table parley.image_cleanup alter column due set not null;

--- not null of parley.image_cleanup.id
alter table parley.image_cleanup alter column id set not null;

--- not null of parley.image_cleanup.is_being_removed
alter table parley.image_cleanup alter column is_being_removed set not null;

--- not null of parley.image_cleanup.name
alter table parley.image_cleanup alter column name set not null;

--- not null of parley.letter_variants.letter
alter table parley.letter_variants alter column letter set not null;

--- not null of parley.letter_variants.variants
alter table parley.letter_variants alter column variants set not null;

--- not null of parley.limits.id
alter table parley.limits alter column id set not null;

--- not null of parley.limits.members_per_chat
alter table parley.limits alter column members_per_chat set not null;

--- not null of parley.members.chat_id
alter table parley.members alter column chat_id set not null;

--- not null of parley.members.joined_at
alter table parley.members alter column joined_at set not null;

--- not null of parley.members.joined_seq
alter table parley.members alter column joined_seq set not null;

--- not null of parley.members.user_id
alter table parley.members alter column user_id set not null;

--- not null of parley.members.was_authorized
alter table parley.members alter column was_authorized set not null;

--- not null of parley.message_blocks.before_id
alter table parley.message_blocks alter column before_id set not null;

--- not null of parley.message_blocks.by_type
alter table parley.message_blocks alter column by_type set not null;

--- not null of parley.message_blocks.chat_id
alter table parley.message_blocks alter column chat_id set not null;

--- not null of parley.message_blocks.first_id
alter table parley.message_blocks alter column first_id set not null;

--- not null of parley.message_blocks.messages
alter table parley.message_blocks alter column messages set not null;

--- not null of parley.message_words.chat_id
alter table parley.message_words alter column chat_id set not null;

--- not null of parley.message_words.id
alter table parley.message_words alter column id set not null;

--- not null of parley.message_words.tsv
alter table parley.message_words alter column tsv set not null;

--- not null of parley.message_words.type
alter table parley.message_words alter column type set not null;

--- not null of parley.messages.chat_id
alter table parley.messages alter column chat_id set not null;

--- not null of parley.messages.content
alter table parley.messages alter column content set not null;

--- not null of parley.messages.created_at
alter table parley.messages alter column created_at set not null;

--- not null of parley.messages.id
alter table parley.messages alter column id set not null;

--- not null of parley.messages.type
alter table parley.messages alter column type set not null;

--- not null of parley.messages.updated_at
alter table parley.messages alter column updated_at set not null;

--- not null of parley.messages.user_id
alter table parley.messages alter column user_id set not null;

--- not null of parley.outbox.chat_id
alter table parley.outbox alter column chat_id set not null;

--- not null of parley.outbox.event
alter table parley.outbox alter column event set not null;

--- not null of parley.outbox.id
alter table parley.outbox alter column id set not null;

--- not null of parley.outbox.on_user_channels
alter table parley.outbox alter column on_user_channels set not null;

--- not null of parley.outbox.payload
alter table parley.outbox alter column payload set not null;

--- not null of parley.outbox.recorded_at
alter table parley.outbox alter column recorded_at set not null;

--- not null of parley.outbox.seq
alter table parley.outbox alter column seq set not null;

--- not null of parley.outbox.terminates_connections
alter table parley.outbox alter column terminates_connections set not null;

--- not null of parley.outbox_queue.chat_id
alter table parley.outbox_queue alter column chat_id set not null;

--- not null of parley.outbox_queue.id
alter table parley.outbox_queue alter column id set not null;

--- not null of parley.outbox_state.epoch
alter table parley.outbox_state alter column epoch set not null;

--- not null of parley.outbox_state.id
alter table parley.outbox_state alter column id set not null;

--- not null of parley.pseudonym_key.id
alter table parley.pseudonym_key alter column id set not null;

--- not null of parley.pseudonym_key.inner_key
alter table parley.pseudonym_key alter column inner_key set not null;

--- not null of parley.pseudonym_key.outer_key
alter table parley.pseudonym_key alter column outer_key set not null;

--- not null of parley.read_markers.chat_id
alter table parley.read_markers alter column chat_id set not null;

--- not null of parley.read_markers.last_read_message_id
alter table parley.read_markers alter column last_read_message_id set not null;

--- not null of parley.read_markers.user_id
alter table parley.read_markers alter column user_id set not null;

--- not null of parley.repeatable_migrations.applied_at
alter table parley.repeatable_migrations alter column applied_at set not null;

--- not null of parley.repeatable_migrations.checksum
alter table parley.repeatable_migrations alter column checksum set not null;

--- not null of parley.repeatable_migrations.name
alter table parley.repeatable_migrations alter column name set not null;

--- not null of parley.rollup_active_keys.grain
alter table parley.rollup_active_keys alter column grain set not null;

--- not null of parley.rollup_active_keys.key
alter table parley.rollup_active_keys alter column key set not null;

--- not null of parley.rollup_active_keys.kind
alter table parley.rollup_active_keys alter column kind set not null;

--- not null of parley.rollup_active_keys.starts_at
alter table parley.rollup_active_keys alter column starts_at set not null;

--- not null of parley.rollup_chat_sizes.chats
alter table parley.rollup_chat_sizes alter column chats set not null;

--- not null of parley.rollup_chat_sizes.inactive_chats
alter table parley.rollup_chat_sizes alter column inactive_chats set not null;

--- not null of parley.rollup_chat_sizes.inactive_messages
alter table parley.rollup_chat_sizes alter column inactive_messages set not null;

--- not null of parley.rollup_chat_sizes.members
alter table parley.rollup_chat_sizes alter column members set not null;

--- not null of parley.rollup_chat_sizes.messages
alter table parley.rollup_chat_sizes alter column messages set not null;

--- not null of parley.rollup_chat_sizes.min_age_days
alter table parley.rollup_chat_sizes alter column min_age_days set not null;

--- not null of parley.rollup_chat_sizes.min_messages
alter table parley.rollup_chat_sizes alter column min_messages set not null;

--- not null of parley.rollup_chats.created_on
alter table parley.rollup_chats alter column created_on set not null;

--- not null of parley.rollup_chats.key
alter table parley.rollup_chats alter column key set not null;

--- not null of parley.rollup_chats.last_message_on
alter table parley.rollup_chats alter column last_message_on set not null;

--- not null of parley.rollup_chats.messages
alter table parley.rollup_chats alter column messages set not null;

--- not null of parley.rollup_periods.active_chats
alter table parley.rollup_periods alter column active_chats set not null;

--- not null of parley.rollup_periods.active_users
alter table parley.rollup_periods alter column active_users set not null;

--- not null of parley.rollup_periods.code_messages
alter table parley.rollup_periods alter column code_messages set not null;

--- not null of parley.rollup_periods.grain
alter table parley.rollup_periods alter column grain set not null;

--- not null of parley.rollup_periods.image_messages
alter table parley.rollup_periods alter column image_messages set not null;

--- not null of parley.rollup_periods.messages
alter table parley.rollup_periods alter column messages set not null;

--- not null of parley.rollup_periods.starts_at
alter table parley.rollup_periods alter column starts_at set not null;

--- not null of parley.rollup_periods.text_messages
alter table parley.rollup_periods alter column text_messages set not null;

--- not null of parley.rollup_responses.bucket
alter table parley.rollup_responses alter column bucket set not null;

--- not null of parley.rollup_responses.day
alter table parley.rollup_responses alter column day set not null;

--- not null of parley.rollup_responses.responses
alter table parley.rollup_responses alter column responses set not null;

--- not null of parley.rollup_retention.cohort
alter table parley.rollup_retention alter column cohort set not null;

--- not null of parley.rollup_retention.users
alter table parley.rollup_retention alter column users set not null;

--- not null of parley.rollup_retention.week
alter table parley.rollup_retention alter column week set not null;

--- not null of parley.rollup_settings.id
alter table parley.rollup_settings alter column id set not null;

--- not null of parley.rollup_settings.setting
alter table parley.rollup_settings alter column setting set not null;

--- not null of parley.rollup_settings.users
alter table parley.rollup_settings alter column users set not null;

--- not null of parley.rollup_state.id
alter table parley.rollup_state alter column id set not null;

--- not null of parley.rollup_state.last_counted_event
alter table parley.rollup_state alter column last_counted_event set not null;

--- not null of parley.rollup_users.cohort
alter table parley.rollup_users alter column cohort set not null;

--- not null of parley.rollup_users.key
alter table parley.rollup_users alter column key set not null;

--- not null of parley.rollup_users.last_message_on
alter table parley.rollup_users alter column last_message_on set not null;

--- not null of parley.rollup_users.messages
alter table parley.rollup_users alter column messages set not null;

--- not null of parley.settings.always_show_code
alter table parley.settings alter column always_show_code set not null;

--- not null of parley.settings.context
alter table parley.settings alter column context set not null;

--- not null of parley.settings.is_premium
alter table parley.settings alter column is_premium set not null;

--- not null of parley.settings.model
alter table parley.settings alter column model set not null;

--- not null of parley.settings.response_style
alter table parley.settings alter column response_style set not null;

--- not null of parley.settings.runtime
alter table parley.settings alter column runtime set not null;

--- not null of parley.settings.theme
alter table parley.settings alter column theme set not null;

--- not null of parley.settings.updated_at
alter table parley.settings alter column updated_at set not null;

--- not null of parley.settings.user_id
alter table parley.settings alter column user_id set not null;

--- option fillfactor of parley.chats
alter table parley.chats set (fillfactor = '70');

--- option fillfactor of parley.read_markers
alter table parley.read_markers set (fillfactor = '80');

--- storage of parley.message_words.tsv
alter table parley.message_words alter column tsv set storage external;

--- storage of parley.message_words.words
alter table parley.message_words alter column words set storage external;

--- storage of parley.outbox.recipients
alter table parley.outbox alter column recipients set storage external;

--- constraint accounts_pkey on next_auth.accounts
alter table next_auth.accounts add constraint accounts_pkey PRIMARY KEY (id);

--- constraint accounts_provider_unique on next_auth.accounts
alter table next_auth.accounts add constraint accounts_provider_unique UNIQUE (provider, "providerAccountId");

--- constraint chat_images_pkey on parley.chat_images
alter table parley.chat_images add constraint chat_images_pkey PRIMARY KEY (name, chat_id);

--- constraint chats_pkey on parley.chats
alter table parley.chats add constraint chats_pkey PRIMARY KEY (id);

--- constraint deleted_users_pkey on parley.deleted_users
alter table parley.deleted_users add constraint deleted_users_pkey PRIMARY KEY (user_id);

--- constraint idempotency_keys_pkey on parley.idempotency_keys
alter table parley.idempotency_keys add constraint idempotency_keys_pkey PRIMARY KEY (user_id, key);

--- constraint image_cleanup_pkey on parley.image_cleanup
alter table parley.image_cleanup add constraint image_cleanup_pkey PRIMARY KEY (id);

--- constraint letter_variants_pkey on parley.letter_variants
alter table parley.letter_variants add constraint letter_variants_pkey PRIMARY KEY (letter);

--- constraint limits_pkey on parley.limits
alter table parley.limits add constraint limits_pkey PRIMARY KEY (id);

--- constraint members_once_per_chat on parley.members
alter table parley.members add constraint members_once_per_chat PRIMARY KEY (chat_id, user_id);

--- constraint message_blocks_pkey on parley.message_blocks
alter table parley.message_blocks add constraint message_blocks_pkey PRIMARY KEY (chat_id, first_id);

--- constraint message_words_pkey on parley.message_words
alter table parley.message_words add constraint message_words_pkey PRIMARY KEY (chat_id, id);

--- constraint messages_pkey on parley.messages
alter table parley.messages add constraint messages_pkey PRIMARY KEY (chat_id, id);

--- constraint outbox_pkey on parley.outbox
alter table parley.outbox add constraint outbox_pkey PRIMARY KEY (id);

--- constraint outbox_queue_pkey on parley.outbox_queue
alter table parley.outbox_queue add constraint outbox_queue_pkey PRIMARY KEY (id);

--- constraint outbox_state_pkey on parley.outbox_state
alter table parley.outbox_state add constraint outbox_state_pkey PRIMARY KEY (id);

--- constraint pseudonym_key_pkey on parley.pseudonym_key
alter table parley.pseudonym_key add constraint pseudonym_key_pkey PRIMARY KEY (id);

--- constraint read_markers_pkey on parley.read_markers
alter table parley.read_markers add constraint read_markers_pkey PRIMARY KEY (chat_id, user_id);

--- constraint repeatable_migrations_pkey on parley.repeatable_migrations
alter table parley.repeatable_migrations add constraint repeatable_migrations_pkey PRIMARY KEY (name);

--- constraint rollup_active_keys_pkey on parley.rollup_active_keys
alter table parley.rollup_active_keys add constraint rollup_active_keys_pkey PRIMARY KEY (grain, starts_at, kind, key);

--- constraint rollup_chat_sizes_pkey on parley.rollup_chat_sizes
alter table parley.rollup_chat_sizes add constraint rollup_chat_sizes_pkey PRIMARY KEY (min_age_days, min_messages);

--- constraint rollup_chats_pkey on parley.rollup_chats
alter table parley.rollup_chats add constraint rollup_chats_pkey PRIMARY KEY (key);

--- constraint rollup_periods_pkey on parley.rollup_periods
alter table parley.rollup_periods add constraint rollup_periods_pkey PRIMARY KEY (grain, starts_at);

--- constraint rollup_responses_pkey on parley.rollup_responses
alter table parley.rollup_responses add constraint rollup_responses_pkey PRIMARY KEY (day, bucket);

--- constraint rollup_retention_pkey on parley.rollup_retention
alter table parley.rollup_retention add constraint rollup_retention_pkey PRIMARY KEY (cohort, week);

--- constraint rollup_settings_once on parley.rollup_settings
alter table parley.rollup_settings add constraint rollup_settings_once UNIQUE NULLS NOT DISTINCT (setting, value);

--- constraint rollup_settings_pkey on parley.rollup_settings
alter table parley.rollup_settings add constraint rollup_settings_pkey PRIMARY KEY (id);

--- constraint rollup_state_pkey on parley.rollup_state
alter table parley.rollup_state add constraint rollup_state_pkey PRIMARY KEY (id);

--- constraint rollup_users_pkey on parley.rollup_users
alter table parley.rollup_users add constraint rollup_users_pkey PRIMARY KEY (key);

--- constraint sessions_pkey on next_auth.sessions
alter table next_auth.sessions add constraint sessions_pkey PRIMARY KEY (id);

--- constraint sessions_token_unique on next_auth.sessions
alter table next_auth.sessions add constraint sessions_token_unique UNIQUE ("sessionToken");

--- constraint settings_pkey on parley.settings
alter table parley.settings add constraint settings_pkey PRIMARY KEY (user_id);

--- constraint users_pkey on next_auth.users
alter table next_auth.users add constraint users_pkey PRIMARY KEY (id);

--- constraint verification_token_pkey on next_auth.verification_token
alter table next_auth.verification_token add constraint verification_token_pkey PRIMARY KEY (identifier, token);

--- identity of next_auth.accounts.id
alter table next_auth.accounts alter column id add generated by default as identity;
select setval(pg_get_serial_sequence('next_auth.accounts', 'id'), coalesce(max(id), 0) + 1, false) from next_auth.accounts;

--- identity of next_auth.sessions.id
alter table next_auth.sessions alter column id add generated by default as identity;
select setval(pg_get_serial_sequence('next_auth.sessions', 'id'), coalesce(max(id), 0) + 1, false) from next_auth.sessions;

--- identity of parley.image_cleanup.id
alter table parley.image_cleanup alter column id add generated always as identity;
select setval(pg_get_serial_sequence('parley.image_cleanup', 'id'), coalesce(max(id), 0) + 1, false) from parley.image_cleanup;

--- identity of parley.outbox.id
alter table parley.outbox alter column id add generated always as identity;
select setval(pg_get_serial_sequence('parley.outbox', 'id'), coalesce(max(id), 0) + 1, false) from parley.outbox;

--- identity of parley.rollup_settings.id
alter table parley.rollup_settings alter column id add generated always as identity;
select setval(pg_get_serial_sequence('parley.rollup_settings', 'id'), coalesce(max(id), 0) + 1, false) from parley.rollup_settings;

--- constraint "accounts_userId_fkey" on next_auth.accounts
alter table next_auth.accounts add constraint "accounts_userId_fkey" FOREIGN KEY ("userId") REFERENCES next_auth.users(id) ON DELETE CASCADE;

--- constraint "sessions_userId_fkey" on next_auth.sessions
alter table next_auth.sessions add constraint "sessions_userId_fkey" FOREIGN KEY ("userId") REFERENCES next_auth.users(id) ON DELETE CASCADE;

--- constraint chats_title_valid on parley.chats
alter table parley.chats add constraint chats_title_valid CHECK ((rules.validation_error('title'::text, title) IS NULL));

--- constraint limits_is_one on parley.limits
alter table parley.limits add constraint limits_is_one CHECK (id);

--- constraint limits_members_per_chat_positive on parley.limits
alter table parley.limits add constraint limits_members_per_chat_positive CHECK ((members_per_chat > 0));

--- constraint members_chat_exists on parley.members
alter table parley.members add constraint members_chat_exists FOREIGN KEY (chat_id) REFERENCES parley.chats(id) ON DELETE CASCADE;

--- constraint message_blocks_chat_exists on parley.message_blocks
alter table parley.message_blocks add constraint message_blocks_chat_exists FOREIGN KEY (chat_id) REFERENCES parley.chats(id) ON DELETE CASCADE;

--- constraint messages_chat_exists on parley.messages
alter table parley.messages add constraint messages_chat_exists FOREIGN KEY (chat_id) REFERENCES parley.chats(id) ON DELETE CASCADE;

--- constraint messages_content_valid on parley.messages
alter table parley.messages add constraint messages_content_valid CHECK ((rules.validation_error('content'::text, content) IS NULL));

--- constraint messages_type_valid on parley.messages
alter table parley.messages add constraint messages_type_valid CHECK ((rules.validation_error('type'::text, type) IS NULL));

--- constraint outbox_state_is_one on parley.outbox_state
alter table parley.outbox_state add constraint outbox_state_is_one CHECK (id);

--- constraint pseudonym_key_is_one on parley.pseudonym_key
alter table parley.pseudonym_key add constraint pseudonym_key_is_one CHECK (id);

--- constraint read_markers_chat_exists on parley.read_markers
alter table parley.read_markers add constraint read_markers_chat_exists FOREIGN KEY (chat_id) REFERENCES parley.chats(id) ON DELETE CASCADE;

--- constraint rollup_periods_grain on parley.rollup_periods
alter table parley.rollup_periods add constraint rollup_periods_grain CHECK ((grain = ANY (ARRAY['hour'::text, 'day'::text, 'week'::text])));

--- constraint rollup_state_is_one on parley.rollup_state
alter table parley.rollup_state add constraint rollup_state_is_one CHECK (id);

--- constraint settings_context_valid on parley.settings
alter table parley.settings add constraint settings_context_valid CHECK ((rules.validation_error('context'::text, context) IS NULL));

--- constraint settings_model_valid on parley.settings
alter table parley.settings add constraint settings_model_valid CHECK ((rules.validation_error('model'::text, model) IS NULL));

--- constraint settings_response_style_valid on parley.settings
alter table parley.settings add constraint settings_response_style_valid CHECK ((rules.validation_error('responseStyle'::text, response_style) IS NULL));

--- constraint settings_runtime_valid on parley.settings
alter table parley.settings add constraint settings_runtime_valid CHECK ((rules.validation_error('runtime'::text, runtime) IS NULL));

--- constraint settings_theme_valid on parley.settings
alter table parley.settings add constraint settings_theme_valid CHECK ((rules.validation_error('theme'::text, theme) IS NULL));

--- constraint settings_user_exists on parley.settings
alter table parley.settings add constraint settings_user_exists FOREIGN KEY (user_id) REFERENCES next_auth.users(id) ON DELETE CASCADE;

--- constraint users_id_valid on next_auth.users
alter table next_auth.users add constraint users_id_valid CHECK (((char_length(id) >= 1) AND (char_length(id) <= 255)));

--- index next_auth.accounts_user on next_auth.accounts
CREATE INDEX CONCURRENTLY accounts_user ON next_auth.accounts USING btree ("userId");

--- index next_auth.sessions_token_digest on next_auth.sessions
CREATE INDEX CONCURRENTLY sessions_token_digest ON next_auth.sessions USING btree (sha256((replace("sessionToken", '\'::text, '\\'::text))::bytea));

--- index next_auth.sessions_user on next_auth.sessions
CREATE INDEX CONCURRENTLY sessions_user ON next_auth.sessions USING btree ("userId");

--- index next_auth.users_email on next_auth.users
CREATE UNIQUE INDEX CONCURRENTLY users_email ON next_auth.users USING btree (email);

--- index next_auth.users_stored_image on next_auth.users
CREATE INDEX CONCURRENTLY users_stored_image ON next_auth.users USING btree ("substring"("right"(image, 80), '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$'::text)) WHERE ("substring"("right"(image, 80), '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$'::text) IS NOT NULL);

--- index parley.chats_being_removed on parley.chats
CREATE INDEX CONCURRENTLY chats_being_removed ON parley.chats USING btree (id) WHERE is_being_removed;

--- index parley.chats_owner on parley.chats
CREATE INDEX CONCURRENTLY chats_owner ON parley.chats USING btree (owner_id);

--- index parley.deleted_users_being_removed on parley.deleted_users
CREATE INDEX CONCURRENTLY deleted_users_being_removed ON parley.deleted_users USING btree (user_id) WHERE is_being_removed;

--- index parley.idempotency_keys_time on parley.idempotency_keys
CREATE INDEX CONCURRENTLY idempotency_keys_time ON parley.idempotency_keys USING btree (created_at);

--- index parley.image_cleanup_being_removed on parley.image_cleanup
CREATE UNIQUE INDEX CONCURRENTLY image_cleanup_being_removed ON parley.image_cleanup USING btree (name) WHERE is_being_removed;

--- index parley.image_cleanup_due on parley.image_cleanup
CREATE INDEX CONCURRENTLY image_cleanup_due ON parley.image_cleanup USING btree (due);

--- index parley.members_user on parley.members
CREATE INDEX CONCURRENTLY members_user ON parley.members USING btree (user_id, chat_id);

--- index parley.message_words_search on parley.message_words
CREATE INDEX message_words_search ON parley.message_words USING gin (chat_id, tsv) WITH (gin_pending_list_limit='256');

--- index parley.messages_image on parley.messages
CREATE INDEX CONCURRENTLY messages_image ON parley.messages USING btree (chat_id, "substring"("right"(content, 80), '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$'::text)) WHERE ((type = 'image'::text) AND ("substring"("right"(content, 80), '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$'::text) IS NOT NULL));

--- index parley.messages_type on parley.messages
CREATE INDEX CONCURRENTLY messages_type ON parley.messages USING btree (chat_id, type, id);

--- index parley.outbox_chat on parley.outbox
CREATE INDEX CONCURRENTLY outbox_chat ON parley.outbox USING btree (chat_id, seq);

--- index parley.outbox_dead_letters on parley.outbox
CREATE INDEX CONCURRENTLY outbox_dead_letters ON parley.outbox USING btree (id) WHERE (dead_lettered_at IS NOT NULL);

--- index parley.outbox_deletions on parley.outbox
CREATE INDEX CONCURRENTLY outbox_deletions ON parley.outbox USING gin (recipients) WHERE (event = 'chat:deleted'::text);

--- index parley.outbox_queue_chat on parley.outbox_queue
CREATE INDEX CONCURRENTLY outbox_queue_chat ON parley.outbox_queue USING btree (chat_id, id);

--- index parley.outbox_removals on parley.outbox
CREATE INDEX CONCURRENTLY outbox_removals ON parley.outbox USING btree (removed_user) WHERE (removed_user IS NOT NULL);

--- index parley.read_markers_user on parley.read_markers
CREATE INDEX CONCURRENTLY read_markers_user ON parley.read_markers USING btree (user_id);

--- function api.add_chat_image(text,text,integer,integer)
CREATE OR REPLACE FUNCTION api.add_chat_image(chat_id text, image_url text, width integer, height integer)
 RETURNS json
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6203823ee196314a8dad870f432b20f0;

--- function api.add_member(text,jsonb)
CREATE OR REPLACE FUNCTION api.add_member(chat_id text, body jsonb)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 d690dcd9b889c4386fc4d770e1005ada;

--- function api.authorize_channel(text,text,text[])
CREATE OR REPLACE FUNCTION api.authorize_channel(socket_id text, channel_name text DEFAULT NULL::text, channel_names text[] DEFAULT NULL::text[])
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 ac243e990448cc155ba68e8299690de1;

--- function api.authorize_upload(text)
CREATE OR REPLACE FUNCTION api.authorize_upload(chat_id text DEFAULT NULL::text)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 03cd32bda100d31ff64a0e47b918a40c;

--- function api.authorize_user(text)
CREATE OR REPLACE FUNCTION api.authorize_user(socket_id text)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 b23e228cf0dfbd99dd200868c8e76454;

--- function api.check_readiness()
CREATE OR REPLACE FUNCTION api.check_readiness()
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 8cac3136d2b1f6252cad81b2bc7ce763;

--- function api.claim_unused_image()
CREATE OR REPLACE FUNCTION api.claim_unused_image()
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 cda97e78e91580301f5137c6fd4fddeb;

--- function api.confirm_image_removal(text)
CREATE OR REPLACE FUNCTION api.confirm_image_removal(name text)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 39adbd0fee3ce7c77b7ff1804f60dd23;

--- function api.create_chat(jsonb)
CREATE OR REPLACE FUNCTION api.create_chat(body jsonb)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 d43fddd12d509411a43d65bc68e8c893;

--- function api.delete_chat(text)
CREATE OR REPLACE FUNCTION api.delete_chat(chat_id text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 1e0c28e601f7ab41b5d0e84fcf30f143;

--- function api.delete_message(text,text)
CREATE OR REPLACE FUNCTION api.delete_message(chat_id text, message_id text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 cd2a66e3703bee02a3b5dc2b63deb57b;

--- function api.get_chat(text)
CREATE OR REPLACE FUNCTION api.get_chat(chat_id text)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 4242de29c29e3af335a30864b11b19dd;

--- function api.get_field_schemas()
CREATE OR REPLACE FUNCTION api.get_field_schemas()
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 aa04bd9797f1f5a6e69932b10c748c08;

--- function api.get_message(text,text,text)
CREATE OR REPLACE FUNCTION api.get_message(chat_id text, message_id text, include text DEFAULT NULL::text)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 9bbdeb9bc4d2d75f1fb7449204acbf24;

--- function api.get_profile()
CREATE OR REPLACE FUNCTION api.get_profile()
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 a5c6a57816238b7a1615776cda9fe267;

--- function api.get_settings()
CREATE OR REPLACE FUNCTION api.get_settings()
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 116173fe1fa9b42781be51ba34d9b5c7;

--- function api.get_wal_position()
CREATE OR REPLACE FUNCTION api.get_wal_position()
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 9acca49cd44943fe9c5e4c18cd5086f5;

--- function api.list_chat_events(text,text,text,text)
CREATE OR REPLACE FUNCTION api.list_chat_events(chat_id text, after text DEFAULT NULL::text, "limit" text DEFAULT NULL::text, include text DEFAULT NULL::text)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 2a501decc631dea87e58713ec28d95d2;

--- function api.list_chats(text,text,text,text,text)
CREATE OR REPLACE FUNCTION api.list_chats(page text DEFAULT NULL::text, "limit" text DEFAULT NULL::text, before text DEFAULT NULL::text, after text DEFAULT NULL::text, include text DEFAULT NULL::text)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 f7421a27631a449fbad16272398643a7;

--- function api.list_events(text,text,text)
CREATE OR REPLACE FUNCTION api.list_events(after text DEFAULT NULL::text, "limit" text DEFAULT NULL::text, include text DEFAULT NULL::text)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 9d27f1af68692d856b022b5f4ea72f7c;

--- function api.list_members(text,text,text,text,text)
CREATE OR REPLACE FUNCTION api.list_members(chat_id text, page text DEFAULT NULL::text, "limit" text DEFAULT NULL::text, before text DEFAULT NULL::text, after text DEFAULT NULL::text)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 2a56ca4e90550ede68e7308d07b27775;

--- function api.list_messages(text,text,text,text,text,text,text,text,text,text,text,text)
CREATE OR REPLACE FUNCTION api.list_messages(chat_id text, page text DEFAULT NULL::text, "limit" text DEFAULT NULL::text, type text DEFAULT NULL::text, search text DEFAULT NULL::text, start_date text DEFAULT NULL::text, end_date text DEFAULT NULL::text, sort text DEFAULT NULL::text, before text DEFAULT NULL::text, after text DEFAULT NULL::text, include text DEFAULT NULL::text, around text DEFAULT NULL::text)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS md5 01d0164b99ef38892b8ca9524db0fe14;

--- function api.list_users(text)
CREATE OR REPLACE FUNCTION api.list_users(email text DEFAULT NULL::text)
 RETURNS json
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 ac2de43c169f7fba3b37110fa4eef204;

--- function api.mark_read(text,jsonb)
CREATE OR REPLACE FUNCTION api.mark_read(chat_id text, body jsonb)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6616bef69758b6e394a93712a6805ae7;

--- function api.parse_json(bytea)
CREATE OR REPLACE FUNCTION api.parse_json(document bytea)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 ba36ad054e19370c8de6bb7730efe0ef;

--- function api.register_image_upload(text)
CREATE OR REPLACE FUNCTION api.register_image_upload(image_url text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 d6840878d7d9c2f6dd7c4da1fac28b07;

--- function api.remove_member(text,text)
CREATE OR REPLACE FUNCTION api.remove_member(chat_id text, user_id text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 b57fb930f2c9c14fd716f25d7db889cc;

--- function api.search(text,text,text,text,text,text,text,text,text,text)
CREATE OR REPLACE FUNCTION api.search(page text DEFAULT NULL::text, "limit" text DEFAULT NULL::text, type text DEFAULT NULL::text, search text DEFAULT NULL::text, start_date text DEFAULT NULL::text, end_date text DEFAULT NULL::text, sort text DEFAULT NULL::text, before text DEFAULT NULL::text, after text DEFAULT NULL::text, include text DEFAULT NULL::text)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 76c00d2d994f19a5ba32de06e81b419b;

--- function api.send_message(text,jsonb)
CREATE OR REPLACE FUNCTION api.send_message(chat_id text, body jsonb)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 d68453c26dd54cd6ad237756b0a77ecb;

--- function api.set_image(text)
CREATE OR REPLACE FUNCTION api.set_image(image_url text)
 RETURNS json
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 046d652240024490bc49756ef81edc99;

--- function api.sync(text,text,text)
CREATE OR REPLACE FUNCTION api.sync(after text DEFAULT NULL::text, "limit" text DEFAULT NULL::text, include text DEFAULT NULL::text)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6000089329baee5760c8173749a6ad07;

--- function api.update_chat(text,jsonb)
CREATE OR REPLACE FUNCTION api.update_chat(chat_id text, body jsonb)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 7ab413e38239897640ef662cf080a208;

--- function api.update_member(text,text,jsonb)
CREATE OR REPLACE FUNCTION api.update_member(chat_id text, user_id text, body jsonb)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 fa7b6141fed13709a12b22aef0976e66;

--- function api.update_message(text,text,jsonb)
CREATE OR REPLACE FUNCTION api.update_message(chat_id text, message_id text, body jsonb)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 2b9e1768df982b0fc824d09f3d161d02;

--- function api.update_profile(jsonb)
CREATE OR REPLACE FUNCTION api.update_profile(body jsonb)
 RETURNS json
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 c8446c09130466c1a5eac77f087f3ef3;

--- function api.update_settings(jsonb)
CREATE OR REPLACE FUNCTION api.update_settings(body jsonb)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 8ef71528dfa072ecd3c9955590db0f9d;

--- function listener.ack_and_fetch_events(bigint[],uuid,uuid[],bigint[],integer,integer,integer)
CREATE OR REPLACE FUNCTION listener.ack_and_fetch_events(acked bigint[], after_chat uuid, held_chats uuid[], held_until bigint[], max_events integer, max_events_per_chat integer, max_bytes integer)
 RETURNS TABLE(id bigint, chat_id uuid, event text, payload text, terminated_user text, channels text[], has_more boolean)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 6684d9bdd83b63e9a5ba1326ecb3b8fa;

--- function listener.dead_letter(bigint,text)
CREATE OR REPLACE FUNCTION listener.dead_letter(event_id bigint, error text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 f12839f1d33f69481abb37da5d362d40;

--- function listener.disable_notify()
CREATE OR REPLACE FUNCTION listener.disable_notify()
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 07de30eec219b9d734b2c4dc56ba7fed;

--- function listener.enable_notify()
CREATE OR REPLACE FUNCTION listener.enable_notify()
 RETURNS boolean
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6d8aadf6235e65281db321937196ba83;

--- function listener.health()
CREATE OR REPLACE FUNCTION listener.health(OUT waiting_events bigint, OUT lag_seconds numeric, OUT dead_letter_events bigint)
 RETURNS record
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 46ea4e48036e6fd42a348fc14d089956;

--- function listener.outbox_health()
CREATE OR REPLACE FUNCTION listener.outbox_health(OUT waiting_events bigint, OUT lag_seconds numeric, OUT oldest_event bigint, OUT newest_event bigint, OUT dead_letter_events bigint)
 RETURNS record
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 a1387c4de442f15b6be37e712f70160a;

--- function listener.purge_deleted_chats(integer)
CREATE OR REPLACE FUNCTION listener.purge_deleted_chats(max_messages integer)
 RETURNS bigint
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 8acc4e23883ec975168bf347c0f9d6eb;

--- function listener.purge_events(interval,integer)
CREATE OR REPLACE FUNCTION listener.purge_events(older_than interval, max_events integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS md5 fcf91942ae14271662dce302c1a036c2;

--- function listener.purge_idempotency_keys(integer)
CREATE OR REPLACE FUNCTION listener.purge_idempotency_keys(max_keys integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS md5 05c1a93e630eac4e9bc2cef241cdab06;

--- function listener.purge_memberships(integer)
CREATE OR REPLACE FUNCTION listener.purge_memberships(max_chats integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 2bb77672529277dbb6aeb4a6382cfc97;

--- function listener.roll_up(integer)
CREATE OR REPLACE FUNCTION listener.roll_up(max_messages integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 4e0e4bf91a558087bfa58b395823b352;

--- function listener.roll_up_chats_and_settings()
CREATE OR REPLACE FUNCTION listener.roll_up_chats_and_settings()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 d25cc9c3c3a75f6845a262deb8b1fd04;

--- function listener.try_lead()
CREATE OR REPLACE FUNCTION listener.try_lead()
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 d8f2aacb19b76feb94c7d7333d6b0d53;

--- function parley.activity_key(parley.chats)
CREATE OR REPLACE FUNCTION parley.activity_key(chat parley.chats)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 9b910c41748910e16c959a42ca17f169;

--- function parley.add_etags(json,text[])
CREATE OR REPLACE FUNCTION parley.add_etags(items json, versions text[])
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 d11fd8b84328ab63d6ee39d6c426b5eb;

--- function parley.add_field(json,text,json)
CREATE OR REPLACE FUNCTION parley.add_field(object json, field text, value json)
 RETURNS json
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 1c0ef4eb8c56b378f5724c7eddf8951c;

--- function parley.add_included_fields(json,text,uuid[],uuid[])
CREATE OR REPLACE FUNCTION parley.add_included_fields(page json, include text, chats uuid[], ids uuid[])
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS md5 cf51a2ae5d61b567ea8efd657254006d;

--- function parley.add_own_chat(parley.outbox,json)
CREATE OR REPLACE FUNCTION parley.add_own_chat(event parley.outbox, entry json)
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 cfdb24da270478b91c98af7f582bb601;

--- function parley.add_response_times(uuid[],uuid[],text[])
CREATE OR REPLACE FUNCTION parley.add_response_times(chats uuid[], ids uuid[], users text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
 SET jit TO 'off'
AS md5 926f503af638d0abe764e6f0b1598b69;

--- function parley.add_to_rollup_chats(uuid[],uuid[])
CREATE OR REPLACE FUNCTION parley.add_to_rollup_chats(chats uuid[], ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
 SET jit TO 'off'
AS md5 50e02f6e1b08a4f049f36086703db116;

--- function parley.add_to_rollups(uuid[],uuid[],text[],text[])
CREATE OR REPLACE FUNCTION parley.add_to_rollups(chats uuid[], ids uuid[], users text[], types text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
 SET jit TO 'off'
AS md5 b9effb44117be4a7cd721b0d26143158;

--- function parley.advance_backfill_week(uuid,uuid)
CREATE OR REPLACE FUNCTION parley.advance_backfill_week(first_id uuid, before_id uuid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS md5 7143a9dfb8129c0574bca6389031baa4;

--- function parley.advance_own_read_marker(uuid)
CREATE OR REPLACE FUNCTION parley.advance_own_read_marker(message uuid)
 RETURNS parley.read_state
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 f967e24e0671f37695a5907969329c40;

--- function parley.advance_read_marker(uuid,text,uuid)
CREATE OR REPLACE FUNCTION parley.advance_read_marker(chat uuid, user_id text, message uuid)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 972a84d7d71a8058047e1fdf3085ada8;

--- function parley.advance_seq(parley.chats)
CREATE OR REPLACE FUNCTION parley.advance_seq(chat parley.chats)
 RETURNS parley.chats
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 c112de46d975b8c53f10f4bcef35cc17;

--- function parley.allocate_message(uuid)
CREATE OR REPLACE FUNCTION parley.allocate_message(chat_id uuid, OUT id uuid, OUT seq bigint)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 03b24648732a0eed2701fdf481742dfb;

--- function parley.around_errors(text,text,text,text,text,text)
CREATE OR REPLACE FUNCTION parley.around_errors(around text, page text, search text, sort text, before text, after text)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 56f1896331a3263525c3c3946df0f824;

--- function parley.assert_authenticated(text)
CREATE OR REPLACE FUNCTION parley.assert_authenticated(user_id text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 fbed22c974d87f3a8c0a147c1ea97a3d;

--- function parley.assert_cursor_not_expired(text,pg_snapshot)
CREATE OR REPLACE FUNCTION parley.assert_cursor_not_expired(cursor_lineage text, snapshot pg_snapshot)
 RETURNS void
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 25bf12238bcb2d90dacedd2b0976af8b;

--- function parley.assert_has_any(jsonb,text[])
CREATE OR REPLACE FUNCTION parley.assert_has_any(body jsonb, fields text[])
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 507b081da168b5d7c4531f2fa4eb27f7;

--- function parley.assert_if_match(text)
CREATE OR REPLACE FUNCTION parley.assert_if_match(etag text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 5225391069ef8bffa610370dc90b7ad5;

--- function parley.assert_is_object(jsonb)
CREATE OR REPLACE FUNCTION parley.assert_is_object(body jsonb)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 369b5f1b2ecea9c9a6f0b1930b151704;

--- function parley.assert_owner(uuid)
CREATE OR REPLACE FUNCTION parley.assert_owner(chat uuid)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 28da54abf5f47e01fcec0e3b95f246e1;

--- function parley.assert_preconditions(text)
CREATE OR REPLACE FUNCTION parley.assert_preconditions(version text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 5fc655d0e854f65dd3b6a8a70b35e40e;

--- function parley.assert_stored_image(text)
CREATE OR REPLACE FUNCTION parley.assert_stored_image(url text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 e44ae65411dbe7cc6c091803637cae60;

--- function parley.assert_writable()
CREATE OR REPLACE FUNCTION parley.assert_writable()
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 bc4dfe6a27ef278f2af9e5d7ecacbcf7;

--- function parley.authorize_subscription(text)
CREATE OR REPLACE FUNCTION parley.authorize_subscription(channel text)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 82dcaa9c1be164f9234685521ddce342;

--- function parley.authors_json(uuid[],uuid[])
CREATE OR REPLACE FUNCTION parley.authors_json(chats uuid[], ids uuid[])
 RETURNS json
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS md5 9b609b7636e498854d11ccefe8a7206c;

--- function parley.begin_chat_removal(uuid)
CREATE OR REPLACE FUNCTION parley.begin_chat_removal(chat uuid)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 fa55a17fb5b4e5578ba4d2c76cb95cb1;

--- function parley.begin_removal_of_inactive_chats(uuid,integer)
CREATE OR REPLACE FUNCTION parley.begin_removal_of_inactive_chats(before_id uuid, max_chats integer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'on'
AS md5 e6da8e84c34c04e2e4307c951eadb0a7;

--- function parley.boundary_patterns()
CREATE OR REPLACE FUNCTION parley.boundary_patterns(OUT before_word text, OUT after_word text, OUT word_start text, OUT word_end text, OUT between_words text, OUT rest_of_word text)
 RETURNS record
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 200e0bbb0013a0d4bc734c1df855c173;

--- function parley.build_term_forms(text,boolean,boolean)
CREATE OR REPLACE FUNCTION parley.build_term_forms(typed text, is_phrase boolean, is_unfinished boolean)
 RETURNS TABLE(words text, is_prefix boolean, stem text, query text, phrase text)
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE ROWS 3
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 3f3b2da1acd8cfb26cc9840fd5a1ce83;

--- function parley.channel_names_errors(text,text[])
CREATE OR REPLACE FUNCTION parley.channel_names_errors(channel_name text, channel_names text[])
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 ed3952067bf9c5e9c6ecb4c793b89d66;

--- function parley.chat_channel(uuid)
CREATE OR REPLACE FUNCTION parley.chat_channel(chat uuid)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 f036248297e6f0db9f7f6b7651e87363;

--- function parley.chat_event_payload(parley.outbox,text)
CREATE OR REPLACE FUNCTION parley.chat_event_payload(event parley.outbox, nonce text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 14e0879e92703f34b28d22ee81eba07d;

--- function parley.chat_json(parley.chats,parley.messages,parley.read_state,json)
CREATE OR REPLACE FUNCTION parley.chat_json(chat parley.chats, last_message parley.messages, read_state parley.read_state, author json DEFAULT NULL::json)
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 655660f40f49fa9b72c4113fae81e461;

--- function parley.chat_revision(parley.chats)
CREATE OR REPLACE FUNCTION parley.chat_revision(chat parley.chats)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 a09bf5a7fccb9a1522f1985d315ab723;

--- function parley.chat_version(bigint,uuid)
CREATE OR REPLACE FUNCTION parley.chat_version(revision bigint, chat uuid)
 RETURNS text
 LANGUAGE sql
 STABLE
AS md5 55a062155dbac0f8691c98cbbcc6070e;

--- function parley.chats_after_insert()
CREATE OR REPLACE FUNCTION parley.chats_after_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 3889594aaf20296e72b8bc8da923a4ee;

--- function parley.chats_before_insert()
CREATE OR REPLACE FUNCTION parley.chats_before_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 4a830b02206a78c8379493487e94110d;

--- function parley.chats_before_owner_update()
CREATE OR REPLACE FUNCTION parley.chats_before_owner_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6ec1dd3c24b382878b7ad346165f4d05;

--- function parley.chats_before_removal()
CREATE OR REPLACE FUNCTION parley.chats_before_removal()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 58e50c66c9d97fe9c59dd28ec8fb640c;

--- function parley.chats_before_update()
CREATE OR REPLACE FUNCTION parley.chats_before_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 723e2e07fbd8228fc6221616c5f67b19;

--- function parley.check_preconditions(text)
CREATE OR REPLACE FUNCTION parley.check_preconditions(version text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 f35b827f0fafb04bb2352bfb6e9dfd62;

--- function parley.close_block(uuid)
CREATE OR REPLACE FUNCTION parley.close_block(chat uuid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
AS md5 3605f0d85862dbab74595393eb35de59;

--- function parley.count_blocks(uuid)
CREATE OR REPLACE FUNCTION parley.count_blocks(chat uuid)
 RETURNS TABLE(first_id uuid, before_id uuid, messages bigint, by_type jsonb)
 LANGUAGE sql
 STABLE
AS md5 5c1dd53515bf400f85bb50b832444328;

--- function parley.count_messages(uuid,parley.message_filter)
CREATE OR REPLACE FUNCTION parley.count_messages(chat uuid, filter parley.message_filter)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 584f283a65ee3dbd43d59f2dc1331a64;

--- function parley.count_messages_in_range(uuid,parley.message_filter)
CREATE OR REPLACE FUNCTION parley.count_messages_in_range(chat uuid, filter parley.message_filter)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 240fff2d733da552c548e57ee4819a64;

--- function parley.count_unread(parley.chats,uuid)
CREATE OR REPLACE FUNCTION parley.count_unread(chat parley.chats, marker uuid)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 1776d4a9a443b755bf995c1c5b61e498;

--- function parley.decode_base64url(text)
CREATE OR REPLACE FUNCTION parley.decode_base64url(value text)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 4300b189b8cb9e28052d0e5a5065e160;

--- function parley.decode_cursor(text)
CREATE OR REPLACE FUNCTION parley.decode_cursor(cursor text, OUT lineage text, OUT after_snapshot pg_snapshot, OUT until_snapshot pg_snapshot, OUT next_chat uuid, OUT next_seq bigint)
 RETURNS record
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 d8f30e155ede079380ddc1e9c210c72b;

--- function parley.encode_base64url(bytea)
CREATE OR REPLACE FUNCTION parley.encode_base64url(value bytea)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 474ad797cf9fb7edae92f79a3714b879;

--- function parley.encode_cursor(pg_snapshot,pg_snapshot,uuid,bigint)
CREATE OR REPLACE FUNCTION parley.encode_cursor(after_snapshot pg_snapshot, until_snapshot pg_snapshot DEFAULT NULL::pg_snapshot, next_chat uuid DEFAULT NULL::uuid, next_seq bigint DEFAULT NULL::bigint)
 RETURNS text
 LANGUAGE sql
 STABLE
AS md5 bd48800719d44aade0eea54511a3823b;

--- function parley.entry_with_user(parley.outbox,json,text,json)
CREATE OR REPLACE FUNCTION parley.entry_with_user(event parley.outbox, data json, nonce text, named_user json)
 RETURNS text
 LANGUAGE sql
 STABLE
AS md5 6a23e04081fef7403e343cec0c4ff36a;

--- function parley.epoch()
CREATE OR REPLACE FUNCTION parley.epoch()
 RETURNS uuid
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6d26db7771a1a0964aa62fc98b3c03f2;

--- function parley.etag(text)
CREATE OR REPLACE FUNCTION parley.etag(version text)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS md5 217af768479534df2a7fd9dfac2c02c3;

--- function parley.event_channels(parley.outbox)
CREATE OR REPLACE FUNCTION parley.event_channels(event parley.outbox)
 RETURNS text[]
 LANGUAGE sql
 STABLE
AS md5 7ebb68b6ae50878202712ea84a59b917;

--- function parley.event_entry_json(parley.outbox,json,text)
CREATE OR REPLACE FUNCTION parley.event_entry_json(event parley.outbox, data json, nonce text)
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 adb2f39f8a9bc40573dc8133e3106dbf;

--- function parley.event_json(parley.outbox,parley.messages,text)
CREATE OR REPLACE FUNCTION parley.event_json(event parley.outbox, message parley.messages, title text)
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 779165cb8f7fce781ab65f70574f90fa;

--- function parley.event_message_id(parley.outbox)
CREATE OR REPLACE FUNCTION parley.event_message_id(event parley.outbox)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 33ca1278a35758df6138486e4c2522ad;

--- function parley.event_page_json(json,json,boolean,text,json)
CREATE OR REPLACE FUNCTION parley.event_page_json(events json, next json, has_more boolean, include text, users json)
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 8c26be81ac7540f71dbfec0dfebbfe1b;

--- function parley.event_user_id(parley.outbox)
CREATE OR REPLACE FUNCTION parley.event_user_id(event parley.outbox)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 e7ffcb2670c8c22fb52798d8aca493f6;

--- function parley.expand_phrases(text,text[],text)
CREATE OR REPLACE FUNCTION parley.expand_phrases(phrase_query text, sequences text[], operator text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 a7d4584dc0b651c3d9ea2672445664ff;

--- function parley.fetch_chat(uuid)
CREATE OR REPLACE FUNCTION parley.fetch_chat(chat uuid)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 93a49d4467bf0da897af3bf96b615335;

--- function parley.fetch_chat_page(parley.page_request,text,boolean)
CREATE OR REPLACE FUNCTION parley.fetch_chat_page(page_request parley.page_request, include text, is_sync boolean, OUT activities uuid[], OUT chats json, OUT total bigint, OUT users json)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 1fe3b0a2a8c9f75f8ba0cb379dfce4a7;

--- function parley.fetch_initial_state(text,text)
CREATE OR REPLACE FUNCTION parley.fetch_initial_state("limit" text, include text)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 4b7a91e4094524e2ce06ab7fbc00a711;

--- function parley.field_error(text,jsonb)
CREATE OR REPLACE FUNCTION parley.field_error(field text, value jsonb)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 ad74d882061050544b79d26e13889988;

--- function parley.field_errors(jsonb,text[],text[])
CREATE OR REPLACE FUNCTION parley.field_errors(body jsonb, required text[], optional text[])
 RETURNS jsonb
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 1432369090d660db783e8a56d11d737a;

--- function parley.filter_errors(text,text,text,text)
CREATE OR REPLACE FUNCTION parley.filter_errors(type text, search text, start_date text, end_date text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS md5 460c1ac9f26970c170a5baf6ff0d172e;

--- function parley.find_chat_events(bigint,bigint,text)
CREATE OR REPLACE FUNCTION parley.find_chat_events(after bigint, max_events bigint, include text, OUT events json, OUT next bigint, OUT users json)
 RETURNS record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS md5 9a75a1fd706fc5f86c181c6c8b254379;

--- function parley.find_chat_page(parley.page_request)
CREATE OR REPLACE FUNCTION parley.find_chat_page(page_request parley.page_request, OUT chats uuid[], OUT activities uuid[], OUT total bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 a90a27787973eba477392f8a35479f6a;

--- function parley.find_chats_with_new_events(pg_snapshot,pg_snapshot,uuid)
CREATE OR REPLACE FUNCTION parley.find_chats_with_new_events(after_snapshot pg_snapshot, until_snapshot pg_snapshot, first_chat uuid)
 RETURNS TABLE(id uuid, end_seq bigint)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 57118ecc8da8566b2edbd621435d36ff;

--- function parley.find_first_new_seq(uuid,pg_snapshot)
CREATE OR REPLACE FUNCTION parley.find_first_new_seq(chat uuid, snapshot pg_snapshot)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 2f1b690ce404732390bd849ede9cee21;

--- function parley.find_fragment(text,text,integer)
CREATE OR REPLACE FUNCTION parley.find_fragment(content text, pattern text, after integer, OUT place integer, OUT fragment text, OUT is_start boolean, OUT is_end boolean)
 RETURNS record
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 4131c6308c76e47782ca2b7ba2663f8c;

--- function parley.find_hit_page(uuid,text,text,parley.message_filter,parley.page_request)
CREATE OR REPLACE FUNCTION parley.find_hit_page(chat uuid, search text, sort text, filter parley.message_filter, page_request parley.page_request, OUT chats uuid[], OUT ids uuid[], OUT total bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 139ff2773d54cb83eba94983f1905126;

--- function parley.find_hits(uuid,parley.search_query,parley.message_filter)
CREATE OR REPLACE FUNCTION parley.find_hits(chat uuid, query parley.search_query, filter parley.message_filter)
 RETURNS TABLE(chat_id uuid, id uuid)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET work_mem TO '64MB'
AS md5 33e4bae047183f525f84dc800cce4966;

--- function parley.find_hits_globally(parley.search_query,parley.message_filter,uuid[],bigint)
CREATE OR REPLACE FUNCTION parley.find_hits_globally(query parley.search_query, filter parley.message_filter, own_chats uuid[], max_candidates bigint, OUT chats uuid[], OUT ids uuid[], OUT is_complete boolean)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
 SET enable_seqscan TO 'off'
 SET work_mem TO '64MB'
AS md5 7acd44f0fb5c35c3f1bea8c3b1624c0e;

--- function parley.find_hits_in_chat(uuid,parley.search_query,parley.message_filter)
CREATE OR REPLACE FUNCTION parley.find_hits_in_chat(chat uuid, query parley.search_query, filter parley.message_filter)
 RETURNS TABLE(id uuid)
 LANGUAGE sql
 STABLE
AS md5 6fa992abd9aadb87d512e9c5ef94c129;

--- function parley.find_hits_per_chat(uuid[],parley.search_query,parley.message_filter)
CREATE OR REPLACE FUNCTION parley.find_hits_per_chat(chats uuid[], query parley.search_query, filter parley.message_filter)
 RETURNS TABLE(chat_id uuid, id uuid)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET cpu_tuple_cost TO '100'
 SET work_mem TO '64MB'
AS md5 25205dbf6f0d6423d000932caf327a05;

--- function parley.find_leader()
CREATE OR REPLACE FUNCTION parley.find_leader()
 RETURNS integer
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 ee619ef64c62de57c525b86fd5432615;

--- function parley.find_member_page(parley.page_request,text)
CREATE OR REPLACE FUNCTION parley.find_member_page(page_request parley.page_request, cursor text, OUT users text[], OUT total bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 829d658a3035408432c112b8fb051a77;

--- function parley.find_message(text,text)
CREATE OR REPLACE FUNCTION parley.find_message(chat_id text, message_id text)
 RETURNS parley.messages
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 90d689ff5d0672114d13034dfc7a639e;

--- function parley.find_message_page(parley.message_filter,parley.page_request)
CREATE OR REPLACE FUNCTION parley.find_message_page(filter parley.message_filter, page_request parley.page_request, OUT ids uuid[], OUT total bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_sort TO 'off'
AS md5 44ce63c572da9f6dd3da91669c42cf19;

--- function parley.find_new_events(pg_snapshot,pg_snapshot,uuid,bigint,bigint,text)
CREATE OR REPLACE FUNCTION parley.find_new_events(after_snapshot pg_snapshot, until_snapshot pg_snapshot, next_chat uuid, next_seq bigint, max_events bigint, include text, OUT events json[], OUT chats uuid[], OUT seqs bigint[], OUT users json)
 RETURNS record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS md5 30221e945c13a3a575de1ecdec570758;

--- function parley.find_new_members(jsonb)
CREATE OR REPLACE FUNCTION parley.find_new_members(members jsonb, OUT users text[], OUT errors jsonb)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 0607d9204566024d6f8a1b2b09525454;

--- function parley.find_page_around(uuid,parley.message_filter,parley.page_request)
CREATE OR REPLACE FUNCTION parley.find_page_around(message_id uuid, filter parley.message_filter, page_request parley.page_request)
 RETURNS parley.page_request
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS md5 d24d7a81cf504e4e2375fb83a960826f;

--- function parley.find_profile()
CREATE OR REPLACE FUNCTION parley.find_profile()
 RETURNS next_auth.users
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 e566504cbfe9e7560794351c53fc5e27;

--- function parley.find_read_state(uuid)
CREATE OR REPLACE FUNCTION parley.find_read_state(chat uuid)
 RETURNS parley.read_state
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 5c1a68f822190229e49a45b58edaf2c1;

--- function parley.find_settings()
CREATE OR REPLACE FUNCTION parley.find_settings()
 RETURNS parley.settings
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 3076e2bc19cb883f3a89ddbcff72cc65;

--- function parley.find_sync_chat(uuid)
CREATE OR REPLACE FUNCTION parley.find_sync_chat(chat uuid)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 962cfb46e627d9d3757c1dc1a2667b64;

--- function parley.find_user(text,text)
CREATE OR REPLACE FUNCTION parley.find_user(field text, value text)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 3e2ef579ea399bd77892ba75bc261dbf;

--- function parley.format_phrase(text,boolean)
CREATE OR REPLACE FUNCTION parley.format_phrase(words text, is_prefix boolean)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 9d2fb8c138e5aaf0675a0883ec26d877;

--- function parley.generate_uuid7(timestamp with time zone,bigint)
CREATE OR REPLACE FUNCTION parley.generate_uuid7(instant timestamp with time zone, number bigint)
 RETURNS uuid
 LANGUAGE sql
 PARALLEL SAFE
AS md5 cc0bbf608479a6364b4f9c99e7a353b5;

--- function parley.has_loaded_functions()
CREATE OR REPLACE FUNCTION parley.has_loaded_functions()
 RETURNS boolean
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 e8c3ebbec3cc1b085d2c97d22092ac3e;

--- function parley.has_more(parley.page_request,anyarray)
CREATE OR REPLACE FUNCTION parley.has_more(page_request parley.page_request, ids anyarray)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 20a2e781d5177e4441d541e97e41f425;

--- function parley.highlight_words(text,parley.highlight)
CREATE OR REPLACE FUNCTION parley.highlight_words(fragment text, highlight parley.highlight)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 8bdd6866355cb354038bc138f7975b44;

--- function parley.hit_json(parley.messages,parley.highlight,boolean)
CREATE OR REPLACE FUNCTION parley.hit_json(message parley.messages, highlight parley.highlight, is_within_budget boolean)
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 67bc31e8d91550830c4fb3fdd9a269c6;

--- function parley.idempotency_key_error(text)
CREATE OR REPLACE FUNCTION parley.idempotency_key_error(header text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 d8e9c40265063b556ea053d299fd5f22;

--- function parley.idempotency_key_pattern()
CREATE OR REPLACE FUNCTION parley.idempotency_key_pattern()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 fb6a429569e8b20aae7c66c0e528d031;

--- function parley.idempotency_key_ttl()
CREATE OR REPLACE FUNCTION parley.idempotency_key_ttl()
 RETURNS interval
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 55f626c4384ee7e7b6a62f00a8121935;

--- function parley.image_name(text)
CREATE OR REPLACE FUNCTION parley.image_name(url text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 2d4adce8d2657e829d251b261d862951;

--- function parley.include_error(text,text[])
CREATE OR REPLACE FUNCTION parley.include_error(include text, allowed text[])
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 e904d39fc8f957a1f054b620dd755f8c;

--- function parley.is_after_snapshot(xid8,pg_snapshot)
CREATE OR REPLACE FUNCTION parley.is_after_snapshot(transaction_id xid8, snapshot pg_snapshot)
 RETURNS boolean
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS md5 4b42cfafc123cd6c9882d868e448945a;

--- function parley.is_being_removed(parley.chats)
CREATE OR REPLACE FUNCTION parley.is_being_removed(chat parley.chats)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 1ac870f7990378dcf185de445fc7ce5a;

--- function parley.is_cheap_to_scan(uuid,parley.message_filter)
CREATE OR REPLACE FUNCTION parley.is_cheap_to_scan(chat uuid, filter parley.message_filter)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS md5 dc3e47c90f8f997a2a8ab99ed74ec433;

--- function parley.is_end_of_access(parley.outbox,text)
CREATE OR REPLACE FUNCTION parley.is_end_of_access(event parley.outbox, user_id text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 eea82c49d2071bdb4a663b79b59f7771;

--- function parley.is_etag_listed(text,text)
CREATE OR REPLACE FUNCTION parley.is_etag_listed(etag text, header text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 589b9d4becc88808b5de17087da1d1dd;

--- function parley.is_hit(tsvector,text,parley.search_query)
CREATE OR REPLACE FUNCTION parley.is_hit(tsv tsvector, words text, query parley.search_query)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 8f9ecde23938d79a397ae4125e47ad91;

--- function parley.is_hit_by_words(tsvector,text,parley.search_query)
CREATE OR REPLACE FUNCTION parley.is_hit_by_words(tsv tsvector, words text, query parley.search_query)
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 8087b442263ced23dd590e54573069da;

--- function parley.is_image_being_removed(text)
CREATE OR REPLACE FUNCTION parley.is_image_being_removed(name text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 ea6b4abae618623a7f369f0784e10c0e;

--- function parley.is_image_used(text)
CREATE OR REPLACE FUNCTION parley.is_image_used(name text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 34f66792b118ad94224638aca34a67a6;

--- function parley.is_included(text,text)
CREATE OR REPLACE FUNCTION parley.is_included(include text, name text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 62df9eb01754c91819a3fbb5a607e7ab;

--- function parley.is_small(parley.chats)
CREATE OR REPLACE FUNCTION parley.is_small(chat parley.chats)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 90c648d194380d12dfcaf5f2fe7cf32d;

--- function parley.iso8601(timestamp with time zone)
CREATE OR REPLACE FUNCTION parley.iso8601(instant timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS md5 630a6126f2ca074f111a7f7ca0175aa9;

--- function parley.last_counted_event()
CREATE OR REPLACE FUNCTION parley.last_counted_event()
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS md5 211c79a38695c7edd010b7dad2b2409c;

--- function parley.last_message_at(parley.chats)
CREATE OR REPLACE FUNCTION parley.last_message_at(chat parley.chats)
 RETURNS timestamp with time zone
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 f98e5f1bd9039db070931e3169e612a1;

--- function parley.last_message_json(parley.messages)
CREATE OR REPLACE FUNCTION parley.last_message_json(message parley.messages)
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 e46da36a638c226bee175ca2c3a7ba99;

--- function parley.latest_chats()
CREATE OR REPLACE FUNCTION parley.latest_chats()
 RETURNS TABLE(place integer, chat_id uuid)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
AS md5 5eacaafc8be85be1bee3b0cc10f7559e;

--- function parley.leader_lock_key()
CREATE OR REPLACE FUNCTION parley.leader_lock_key()
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 a2b920fc8eebcda70f9d84fa805daab0;

--- function parley.letter_pattern(text)
CREATE OR REPLACE FUNCTION parley.letter_pattern(letter text)
 RETURNS text
 LANGUAGE sql
 STABLE
AS md5 d7791f922b57a1aacf346d445625dcc7;

--- function parley.lineage()
CREATE OR REPLACE FUNCTION parley.lineage()
 RETURNS text
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6159cb42d01d7da0607d5b7ac61dbc77;

--- function parley.list_contacts(text)
CREATE OR REPLACE FUNCTION parley.list_contacts(user_id text)
 RETURNS SETOF text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS md5 09fab503daec9f75b41185cca17ad69f;

--- function parley.list_members_at(parley.outbox)
CREATE OR REPLACE FUNCTION parley.list_members_at(event parley.outbox)
 RETURNS SETOF text
 LANGUAGE sql
 STABLE
AS md5 7c467dce4a13cb444dc2e81c2cb38859;

--- function parley.list_publications(parley.outbox)
CREATE OR REPLACE FUNCTION parley.list_publications(event parley.outbox)
 RETURNS SETOF parley.publication
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 c03df00e489d09903fad6db7483fe585;

--- function parley.list_recipients(parley.outbox)
CREATE OR REPLACE FUNCTION parley.list_recipients(event parley.outbox)
 RETURNS SETOF text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 774d2740d211fac4e98986ee75706a2e;

--- function parley.listed_chat_json(parley.chats,parley.messages,json,text,boolean)
CREATE OR REPLACE FUNCTION parley.listed_chat_json(chat parley.chats, last_message parley.messages, author json, include text, is_sync boolean)
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 18aed957e5a18a250c761f6c75ba3510;

--- function parley.lock_idempotency_key(text)
CREATE OR REPLACE FUNCTION parley.lock_idempotency_key(key text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 324b81786b963d68f0aabc2925175a55;

--- function parley.lock_image(text)
CREATE OR REPLACE FUNCTION parley.lock_image(name text)
 RETURNS void
 LANGUAGE sql
AS md5 f2cf55c015cfa2bfc816128baeaf40d2;

--- function parley.lock_selected_chat()
CREATE OR REPLACE FUNCTION parley.lock_selected_chat()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 1c952e8815e06c029fdb70109aa097c5;

--- function parley.mark_read_after_readmission(uuid,text)
CREATE OR REPLACE FUNCTION parley.mark_read_after_readmission(chat uuid, user_id text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 62ad6cd1eba117897e0b1bc5b8a00bf5;

--- function parley.max_scan_bytes()
CREATE OR REPLACE FUNCTION parley.max_scan_bytes()
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 8cdb14ae33a16dacbb9755221f46b885;

--- function parley.max_scan_messages()
CREATE OR REPLACE FUNCTION parley.max_scan_messages()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 e2985bb786b503b5e7eb8208b91b14ae;

--- function parley.max_snippet_length()
CREATE OR REPLACE FUNCTION parley.max_snippet_length()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 1c9b7802695672aeb11b85a26561bf21;

--- function parley.member_channels(parley.outbox)
CREATE OR REPLACE FUNCTION parley.member_channels(event parley.outbox)
 RETURNS text[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 332b3703356b50eaa3c58e4a2e7fe7ad;

--- function parley.member_cursor_error(text)
CREATE OR REPLACE FUNCTION parley.member_cursor_error(cursor text)
 RETURNS text
 LANGUAGE sql
 STABLE
AS md5 fb6cc5f09790518f9ef1754fdf5ef0b1;

--- function parley.member_page_errors(text,text,text,text)
CREATE OR REPLACE FUNCTION parley.member_page_errors(page text, "limit" text, before text, after text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
AS md5 9ab2767e012e94dfd104c3414843d855;

--- function parley.members_after_delete()
CREATE OR REPLACE FUNCTION parley.members_after_delete()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 b36fcfaf9a69c1a56d349705f8f35ece;

--- function parley.members_after_insert()
CREATE OR REPLACE FUNCTION parley.members_after_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 739dd934d39b9f64ac99896589a21fba;

--- function parley.members_before_insert()
CREATE OR REPLACE FUNCTION parley.members_before_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 c664866ba3eceff490df178eaed8c578;

--- function parley.members_json(text[])
CREATE OR REPLACE FUNCTION parley.members_json(users text[], OUT user_id text, OUT joined_at timestamp with time zone, OUT member json)
 RETURNS SETOF record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS md5 75fe1b4175a5943838648c983b673590;

--- function parley.members_reject_key_update()
CREATE OR REPLACE FUNCTION parley.members_reject_key_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 7f342ab7c97fc8611332f17e92feaad1;

--- function parley.message_fields(parley.messages)
CREATE OR REPLACE FUNCTION parley.message_fields(message parley.messages)
 RETURNS TABLE(id uuid, content text, type text, "userId" text, "createdAt" text, "updatedAt" text)
 LANGUAGE sql
 STABLE
AS md5 44ac84b01a898be053bd6731e9ecf175;

--- function parley.message_image(parley.messages)
CREATE OR REPLACE FUNCTION parley.message_image(message parley.messages)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 ed0853e658f406d9e432d5b59af937b5;

--- function parley.message_version(parley.messages)
CREATE OR REPLACE FUNCTION parley.message_version(message parley.messages)
 RETURNS text
 LANGUAGE sql
 STABLE
AS md5 a9c3276b8a32145a97895b4c2e451230;

--- function parley.messages_after_delete()
CREATE OR REPLACE FUNCTION parley.messages_after_delete()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 5a89e59602bc71c41a822f0f7f4e202c;

--- function parley.messages_after_delete_words()
CREATE OR REPLACE FUNCTION parley.messages_after_delete_words()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 9efeb21a99a232464f5244085e06c586;

--- function parley.messages_after_image_added()
CREATE OR REPLACE FUNCTION parley.messages_after_image_added()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 2263555f68e7bd657645844cd4111bbc;

--- function parley.messages_after_image_removed()
CREATE OR REPLACE FUNCTION parley.messages_after_image_removed()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 98ef70d11ad5bfdba4b395bbe7df1e6f;

--- function parley.messages_after_type_update()
CREATE OR REPLACE FUNCTION parley.messages_after_type_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6f19dce983418504f25e3121551890c1;

--- function parley.messages_after_write_words()
CREATE OR REPLACE FUNCTION parley.messages_after_write_words()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 8a0917b14cdc13b715b2dd35b54d376b;

--- function parley.messages_before_insert()
CREATE OR REPLACE FUNCTION parley.messages_before_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 7b64d47fb30782e130f5eb0c22f502ae;

--- function parley.messages_before_update()
CREATE OR REPLACE FUNCTION parley.messages_before_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 a8bdcbb50698f79d941e77066326a40a;

--- function parley.messages_reject_key_update()
CREATE OR REPLACE FUNCTION parley.messages_reject_key_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 58b64fe0af992a678cd0a4dbd3b08990;

--- function parley.messages_with_keys(uuid[],uuid[],text[],text[])
CREATE OR REPLACE FUNCTION parley.messages_with_keys(chats uuid[], ids uuid[], users text[], types text[])
 RETURNS TABLE(chat_id uuid, type text, sent_at timestamp with time zone, user_key uuid, chat_key uuid)
 LANGUAGE sql
 STABLE
AS md5 ad9c7d79a4f11fef091f14e9d8cd9d82;

--- function parley.min_uuid7(timestamp with time zone)
CREATE OR REPLACE FUNCTION parley.min_uuid7(instant timestamp with time zone)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 b450c92abf11f5c3b2d793a43e7be257;

--- function parley.nested_objects(json)
CREATE OR REPLACE FUNCTION parley.nested_objects(source json)
 RETURNS TABLE(name text, object json)
 LANGUAGE sql
 STABLE
AS md5 cbce3ca5cad6606851e7689d6c1d51cf;

--- function parley.next_event_ids(uuid,uuid[],bigint[],integer,integer)
CREATE OR REPLACE FUNCTION parley.next_event_ids(after_chat uuid, held_chats uuid[], held_until bigint[], max_events integer, max_events_per_chat integer)
 RETURNS bigint[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
AS md5 9cf0f9b45d2c241e7b1e16aa3645b1d0;

--- function parley.next_gap(parley.chats)
CREATE OR REPLACE FUNCTION parley.next_gap(chat parley.chats)
 RETURNS int8range
 LANGUAGE sql
 STABLE
AS md5 aa50959c58b6a05214b64353468b8687;

--- function parley.next_message_at(parley.chats)
CREATE OR REPLACE FUNCTION parley.next_message_at(chat parley.chats)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 8bf5b799c76c249a9871838572710a02;

--- function parley.next_seq(parley.chats,bigint)
CREATE OR REPLACE FUNCTION parley.next_seq(chat parley.chats, changes bigint DEFAULT 1)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS md5 4b2152e6cd95cc05cc9c656a7c2aa3c0;

--- function parley.next_updated_at(timestamp with time zone)
CREATE OR REPLACE FUNCTION parley.next_updated_at(previous timestamp with time zone)
 RETURNS timestamp with time zone
 LANGUAGE sql
 PARALLEL SAFE
AS md5 0c482997edc9ebe5797b62b6b2008230;

--- function parley.not_blank_pattern()
CREATE OR REPLACE FUNCTION parley.not_blank_pattern()
 RETURNS text
 LANGUAGE sql
 STABLE
AS md5 c6e0c8a5816c550ff89c1bc051a8540e;

--- function parley.notify_lock_key()
CREATE OR REPLACE FUNCTION parley.notify_lock_key()
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 878a0a0dd9a93c55093f5e4f025fa7a4;

--- function parley.now_ms()
CREATE OR REPLACE FUNCTION parley.now_ms()
 RETURNS timestamp with time zone
 LANGUAGE sql
 PARALLEL SAFE
AS md5 71d49bee25f23fc2e79ed10dcba1167b;

--- function parley.number_error(text,text)
CREATE OR REPLACE FUNCTION parley.number_error(kind text, value text)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS md5 f7ff0e62b81810ae85bb8cc28156b055;

--- function parley.number_limits(text)
CREATE OR REPLACE FUNCTION parley.number_limits(kind text)
 RETURNS bigint[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 7016197f924ea312f30289d427ce4fec;

--- function parley.number_schema(text,bigint)
CREATE OR REPLACE FUNCTION parley.number_schema(kind text, default_value bigint)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 1bfa612b29e60d2ef67e20e6e89436fd;

--- function parley.omit_content(json,text)
CREATE OR REPLACE FUNCTION parley.omit_content(payload json, reason text)
 RETURNS json
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 d125aa86ce39affcd3c3d351ce5e258e;

--- function parley.operators_error(text)
CREATE OR REPLACE FUNCTION parley.operators_error(search text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 16049ee7708c54c2095e4e37f5b5a19e;

--- function parley.outbox_after_delete()
CREATE OR REPLACE FUNCTION parley.outbox_after_delete()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 2e8794f88a842f525e2fc88fc48136f7;

--- function parley.own_event_payload(parley.outbox)
CREATE OR REPLACE FUNCTION parley.own_event_payload(event parley.outbox)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 ed9c543e301cf023203c51474288955a;

--- function parley.page_errors(text,text,text,text)
CREATE OR REPLACE FUNCTION parley.page_errors(page text, "limit" text, before text, after text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS md5 e3ec47ba4a06c18f12eba671b22f92e0;

--- function parley.parse_end_date(text)
CREATE OR REPLACE FUNCTION parley.parse_end_date(value text)
 RETURNS timestamp with time zone
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 09a3fd3a53db207587dbcc5af4f2d800;

--- function parley.parse_event_limit(text)
CREATE OR REPLACE FUNCTION parley.parse_event_limit("limit" text)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 8cf38ad085979a9e8eb1e47561d9649c;

--- function parley.parse_filter(text,text,text)
CREATE OR REPLACE FUNCTION parley.parse_filter(type text, start_date text, end_date text)
 RETURNS parley.message_filter
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6ed9f574af9cb205a7c6b347e0daa10c;

--- function parley.parse_highlight(text)
CREATE OR REPLACE FUNCTION parley.parse_highlight(search text)
 RETURNS parley.highlight
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS md5 25ca758b16b06f7be6c5fdf4683da414;

--- function parley.parse_idempotency_key(text)
CREATE OR REPLACE FUNCTION parley.parse_idempotency_key(header text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 6761cc31c43c3170953ad12205acbbdb;

--- function parley.parse_member_page(text,text,text,text)
CREATE OR REPLACE FUNCTION parley.parse_member_page(page text, "limit" text, before text, after text)
 RETURNS parley.page_request
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 76f5c7b3aaf70a2a2ecf70a108a426c8;

--- function parley.parse_page(text,text,text,text)
CREATE OR REPLACE FUNCTION parley.parse_page(page text, "limit" text, before text, after text)
 RETURNS parley.page_request
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 e86c0a2adff8b1dfae322c10b2a087c5;

--- function parley.parse_search(text)
CREATE OR REPLACE FUNCTION parley.parse_search(search text)
 RETURNS parley.search_query
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET client_min_messages TO 'error'
AS md5 dd4e741b8be5dcd5d98eea5a99e0221d;

--- function parley.parse_search_terms(text)
CREATE OR REPLACE FUNCTION parley.parse_search_terms(search text)
 RETURNS TABLE(alternative bigint, place bigint, typed text, is_phrase boolean, is_negated boolean, is_stop_word boolean, is_unfinished boolean)
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE ROWS 5
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 0550574572c38e7be1ebd3c6b2571672;

--- function parley.parse_timestamp(text)
CREATE OR REPLACE FUNCTION parley.parse_timestamp(value text)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS md5 493b4709e720f5c4469eb77fda8b78ed;

--- function parley.parse_uuid(text)
CREATE OR REPLACE FUNCTION parley.parse_uuid(value text)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 b430f963b83fe3881356fcdc23b7f240;

--- function parley.profile_json(next_auth.users)
CREATE OR REPLACE FUNCTION parley.profile_json(profile next_auth.users)
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 812d7b103b513c85dd71e3c4170c8928;

--- function parley.pseudonym(text,text)
CREATE OR REPLACE FUNCTION parley.pseudonym(kind text, subject text)
 RETURNS uuid
 LANGUAGE sql
 STABLE
AS md5 99ffc341ef532d9b8db4fdeb57a46d4a;

--- function parley.public_user_json(text,text,text)
CREATE OR REPLACE FUNCTION parley.public_user_json(id text, name text, image text)
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 140d1f92e8432cb32e8c8ed17c5488a4;

--- function parley.purge_active_keys()
CREATE OR REPLACE FUNCTION parley.purge_active_keys()
 RETURNS void
 LANGUAGE sql
AS md5 a9a5fce94fc7a78aeaf40036a840bdd5;

--- function parley.purge_deleted_chats(integer)
CREATE OR REPLACE FUNCTION parley.purge_deleted_chats(max_messages integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS md5 1a05a9835b2a54636bba22e53597a07c;

--- function parley.purge_inactive_chats(interval,integer)
CREATE OR REPLACE FUNCTION parley.purge_inactive_chats(inactive_for interval, max_messages integer DEFAULT 1000)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 5f9d18b7a46e11a51b348b5e264e4467;

--- function parley.purge_memberships(text,integer)
CREATE OR REPLACE FUNCTION parley.purge_memberships(deleted_user text, max_chats integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS md5 e8006fcc7828c985baa4437e6412860f;

--- function parley.pusher_user_id(text)
CREATE OR REPLACE FUNCTION parley.pusher_user_id(user_id text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 3fd07e4aca3b4cc356dfd832823ecb8b;

--- function parley.queued_chats(uuid)
CREATE OR REPLACE FUNCTION parley.queued_chats(after_chat uuid)
 RETURNS TABLE(chat_id uuid)
 LANGUAGE sql
 STABLE
AS md5 9a17b217a6237b268e44bfe25d443546;

--- function parley.raise_error(text,text,jsonb)
CREATE OR REPLACE FUNCTION parley.raise_error(state text, message text, details jsonb DEFAULT NULL::jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 adfe11e8f08b2f72ad04879de94f2fc8;

--- function parley.raise_forbidden(text)
CREATE OR REPLACE FUNCTION parley.raise_forbidden(message text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 f3505b9504963dbb5f838a002dd0b2de;

--- function parley.raise_invalid(jsonb)
CREATE OR REPLACE FUNCTION parley.raise_invalid(errors jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 ae079c43205b053bad9a185a9caa52cc;

--- function parley.raise_not_found(text)
CREATE OR REPLACE FUNCTION parley.raise_not_found(resource text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 383a8ec2d9dbd8f8a583a67989700dbe;

--- function parley.record_authorization(uuid)
CREATE OR REPLACE FUNCTION parley.record_authorization(chat uuid)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 5ec427fbdc346b38679b94c8de2d6f30;

--- function parley.record_event(uuid,bigint,text,json,text[],text,timestamp with time zone,boolean,text)
CREATE OR REPLACE FUNCTION parley.record_event(chat uuid, seq bigint, event text, payload json, recipients text[] DEFAULT NULL::text[], removed_user text DEFAULT NULL::text, changed_at timestamp with time zone DEFAULT NULL::timestamp with time zone, terminates_connections boolean DEFAULT false, nonce text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 19720a1bc49bc9c22979be4fa4c64425;

--- function parley.recount_blocks(uuid,uuid[])
CREATE OR REPLACE FUNCTION parley.recount_blocks(chat uuid, ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_indexonlyscan TO 'off'
AS md5 2e2a33d5908bd47ca2ba8d4b95a5cbdf;

--- function parley.recount_chat(uuid)
CREATE OR REPLACE FUNCTION parley.recount_chat(chat uuid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS md5 4ab9b49a8255f3bbd6dccaaef9ae8436;

--- function parley.requeue_events(bigint[])
CREATE OR REPLACE FUNCTION parley.requeue_events(VARIADIC event_ids bigint[])
 RETURNS bigint
 LANGUAGE sql
AS md5 2ff55a8876c539f6269056a37482a637;

--- function parley.reset_rollups()
CREATE OR REPLACE FUNCTION parley.reset_rollups()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 77373d627473aeb831b677350772a778;

--- function parley.restrict_authorization(json,json)
CREATE OR REPLACE FUNCTION parley.restrict_authorization(stored json, current json)
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 c8fc716d8ab7b0944e75a9ac23767d71;

--- function parley.roll_up_backfill_batch(parley.rollup_state,integer)
CREATE OR REPLACE FUNCTION parley.roll_up_backfill_batch(state parley.rollup_state, max_messages integer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS md5 0a07758cbf3af35d8411136b56238bdd;

--- function parley.roll_up_chats()
CREATE OR REPLACE FUNCTION parley.roll_up_chats()
 RETURNS void
 LANGUAGE sql
AS md5 02109768a7672ae583db85fbfbfc220a;

--- function parley.roll_up_event_batch(parley.rollup_state,integer)
CREATE OR REPLACE FUNCTION parley.roll_up_event_batch(state parley.rollup_state, max_messages integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS md5 4c94a18299fb4f58ee2aaac044816c65;

--- function parley.roll_up_settings()
CREATE OR REPLACE FUNCTION parley.roll_up_settings()
 RETURNS void
 LANGUAGE sql
AS md5 5876c21c79c3f4c3c863bee516942bde;

--- function parley.search_by_relevance(uuid,parley.search_query,parley.message_filter,parley.page_request)
CREATE OR REPLACE FUNCTION parley.search_by_relevance(chat uuid, query parley.search_query, filter parley.message_filter, page_request parley.page_request, OUT chats uuid[], OUT ids uuid[], OUT total bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET work_mem TO '64MB'
AS md5 bcf93efddf4592c375f644225194b47f;

--- function parley.search_chat(parley.search_query,parley.message_filter,parley.page_request)
CREATE OR REPLACE FUNCTION parley.search_chat(query parley.search_query, filter parley.message_filter, page_request parley.page_request, OUT ids uuid[], OUT total bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET cpu_tuple_cost TO '100'
 SET work_mem TO '64MB'
AS md5 5005acb10f48c3f8c2e557fa50123a6f;

--- function parley.search_chats(parley.search_query,parley.message_filter,parley.page_request)
CREATE OR REPLACE FUNCTION parley.search_chats(query parley.search_query, filter parley.message_filter, page_request parley.page_request, OUT chats uuid[], OUT ids uuid[], OUT total bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET work_mem TO '64MB'
AS md5 c9e63bf31cf7d242643e3cc20b6ad98f;

--- function parley.select_chat(text)
CREATE OR REPLACE FUNCTION parley.select_chat(chat_id text)
 RETURNS uuid
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6c95067634ecc2c8f065bf4315eff751;

--- function parley.set_chat_seq_header()
CREATE OR REPLACE FUNCTION parley.set_chat_seq_header(OUT seq bigint, OUT revision bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 19c1920cc44a1c0fe53e4d4da6900c07;

--- function parley.set_owner(uuid,text)
CREATE OR REPLACE FUNCTION parley.set_owner(chat uuid, user_id text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 2705079ed9ae52c3b18f87ef450770cb;

--- function parley.set_response_etag(text)
CREATE OR REPLACE FUNCTION parley.set_response_etag(version text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 84c17ba1f66eedefe3ec6f19140ea144;

--- function parley.set_response_links(parley.page_request,anyarray,text,boolean)
CREATE OR REPLACE FUNCTION parley.set_response_links(page_request parley.page_request, ids anyarray, sort text DEFAULT NULL::text, is_oldest_first boolean DEFAULT false)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 1632893dbc9140e707b685acd65520bb;

--- function parley.settings_before_update()
CREATE OR REPLACE FUNCTION parley.settings_before_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 b618130524fe084e7e2a16bf3e61d2bb;

--- function parley.settings_json(parley.settings)
CREATE OR REPLACE FUNCTION parley.settings_json(settings parley.settings)
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 0ad90b32ce1286834b0e8b6c4d023a34;

--- function parley.skip_blocks(uuid,parley.message_filter,bigint)
CREATE OR REPLACE FUNCTION parley.skip_blocks(chat uuid, filter parley.message_filter, INOUT skip bigint, OUT before_id uuid)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
AS md5 b51e13e0e4b3aae459ee4ab878b0f609;

--- function parley.skipped_until(parley.chats)
CREATE OR REPLACE FUNCTION parley.skipped_until(chat parley.chats)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS md5 2a0b3f5387a71ff7fa943a3d76ff46a1;

--- function parley.slice_hits(uuid[],parley.page_request)
CREATE OR REPLACE FUNCTION parley.slice_hits(hits uuid[], page_request parley.page_request)
 RETURNS uuid[]
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 7caab759434ff53d02f5ac834373163d;

--- function parley.snippet(text,parley.highlight,boolean)
CREATE OR REPLACE FUNCTION parley.snippet(content text, highlight parley.highlight, is_within_budget boolean)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 f0f8fc1ff087cb4a7d32174a328d830c;

--- function parley.socket_id_error(text)
CREATE OR REPLACE FUNCTION parley.socket_id_error(socket_id text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 f9bf472bebee787d2c4383abfb0d912d;

--- function parley.socket_id_pattern()
CREATE OR REPLACE FUNCTION parley.socket_id_pattern()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 22397c48e6a9b850d0c7b67603aa2b85;

--- function parley.sort_errors(text,text,text,text)
CREATE OR REPLACE FUNCTION parley.sort_errors(sort text, search text, before text, after text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS md5 ab950e3d3a0be3095a4fd3fb27428578;

--- function parley.spelling_pattern(text)
CREATE OR REPLACE FUNCTION parley.spelling_pattern(word text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 ade807e6dac8d232371f0ac9ae939cb0;

--- function parley.start_new_epoch()
CREATE OR REPLACE FUNCTION parley.start_new_epoch()
 RETURNS void
 LANGUAGE sql
AS md5 939503c0b3cd89f04195fa8bb8195012;

--- function parley.system_identifier()
CREATE OR REPLACE FUNCTION parley.system_identifier()
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 7d65236db1a4d7c7348cb6e58f1a584c;

--- function parley.text_schema(text,text)
CREATE OR REPLACE FUNCTION parley.text_schema(field text, not_blank text)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 cb3781606fdf63abf4bcefee66bf6b28;

--- function parley.timeline()
CREATE OR REPLACE FUNCTION parley.timeline()
 RETURNS text
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 0a7e1a24469f5a0965d24a5bb4356ddd;

--- function parley.timestamp_error(text)
CREATE OR REPLACE FUNCTION parley.timestamp_error(value text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 2461a05ed591b7ec682d5a3a08a27f4e;

--- function parley.transfer_ownership(text)
CREATE OR REPLACE FUNCTION parley.transfer_ownership(new_owner text)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 171c7b99cb1b9ac37cd5ef9d011e3a0b;

--- function parley.trim_fragment(text,boolean,boolean)
CREATE OR REPLACE FUNCTION parley.trim_fragment(fragment text, is_start boolean, is_end boolean)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 6627b2e7dd548a863a5df292c462dac8;

--- function parley.trim_page(parley.page_request,anyarray)
CREATE OR REPLACE FUNCTION parley.trim_page(page_request parley.page_request, ids anyarray)
 RETURNS anyarray
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 8b19e8174f60b29ab810efe6540a254c;

--- function parley.try_authorize(text)
CREATE OR REPLACE FUNCTION parley.try_authorize(channel text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 722541d18a406d3ff802b82f83ad357e;

--- function parley.update_counters_after_delete(uuid,uuid[])
CREATE OR REPLACE FUNCTION parley.update_counters_after_delete(chat uuid, ids uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 a41a242ffdbe510958304178c9809a11;

--- function parley.user_channel(text)
CREATE OR REPLACE FUNCTION parley.user_channel(user_id text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 d6b49e6ba903e48677cb0cc2efed91f2;

--- function parley.user_data()
CREATE OR REPLACE FUNCTION parley.user_data()
 RETURNS json
 LANGUAGE sql
 STABLE
AS md5 0d8c27667751b367023293290c5506ed;

--- function parley.user_name()
CREATE OR REPLACE FUNCTION parley.user_name()
 RETURNS text
 LANGUAGE sql
 STABLE
AS md5 b04743080978dd3a71f1ce17ae31e4f7;

--- function parley.user_queue_id(text)
CREATE OR REPLACE FUNCTION parley.user_queue_id(user_id text)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 2bb541257516fe7cce011adb2dc7fdad;

--- function parley.user_reference_errors(jsonb)
CREATE OR REPLACE FUNCTION parley.user_reference_errors(body jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS md5 de66183e81a7a7dc80a59bea7ba41ad9;

--- function parley.users_after_delete()
CREATE OR REPLACE FUNCTION parley.users_after_delete()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 853d82bcedbecdf1ab3b79e18161a39f;

--- function parley.users_after_image_change()
CREATE OR REPLACE FUNCTION parley.users_after_image_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 7e5994555ef59e934b6db48e71dff7e8;

--- function parley.users_after_insert()
CREATE OR REPLACE FUNCTION parley.users_after_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 ab08a7b3d2d79d3946fe8dd6090746ff;

--- function parley.users_after_update()
CREATE OR REPLACE FUNCTION parley.users_after_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 cb80b828f4a06decca8ab8f455788ef0;

--- function parley.users_before_email_write()
CREATE OR REPLACE FUNCTION parley.users_before_email_write()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 98d1a883ff652bd615d7557573a76e36;

--- function parley.users_before_update()
CREATE OR REPLACE FUNCTION parley.users_before_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 76f6a17cf45f6d5911e59d6c53aedd8e;

--- function parley.users_json(text[])
CREATE OR REPLACE FUNCTION parley.users_json(ids text[])
 RETURNS json
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS md5 b4237903ef4a54170fcf7a521d835dea;

--- function parley.validate_body(jsonb,text[],text[])
CREATE OR REPLACE FUNCTION parley.validate_body(body jsonb, required text[], optional text[] DEFAULT '{}'::text[])
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 537086758c79ddc1973a6ead60f6e287;

--- function parley.validate_message_query(text,text,text,text,text,text,text,text,text,text,text,text)
CREATE OR REPLACE FUNCTION parley.validate_message_query(chat_id text, page text, "limit" text, type text, search text, start_date text, end_date text, sort text, before text, after text, include text, around text)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 358e1f76b0baa758857a175ba4e94004;

--- function parley.wait_for_image_removal(text)
CREATE OR REPLACE FUNCTION parley.wait_for_image_removal(name text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 9324fcd1072477594b9c49dc146637ea;

--- function parley.write_lineage()
CREATE OR REPLACE FUNCTION parley.write_lineage()
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 daad2d7a72a3f1096447b66fd8cb2956;

--- function session.authenticate(jsonb,text,text,text)
CREATE OR REPLACE FUNCTION session.authenticate(identity jsonb, request_id text DEFAULT NULL::text, if_match text DEFAULT NULL::text, if_none_match text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 b01ef75e532f11ec7f30a191b1398a08;

--- function session.authenticate_idempotent(jsonb,text,text,bytea)
CREATE OR REPLACE FUNCTION session.authenticate_idempotent(identity jsonb, request_id text, header text, fingerprint bytea)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 ec2289fa5d768b4003f84afcb1fadd3b;

--- function session.find_response(text,bytea)
CREATE OR REPLACE FUNCTION session.find_response(header text, fingerprint bytea)
 RETURNS json
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS md5 e47b112a181ce89bfbdedad8438656b1;

--- function session.is_chat_member(uuid)
CREATE OR REPLACE FUNCTION session.is_chat_member(chat uuid)
 RETURNS boolean
 LANGUAGE sql
 STABLE PARALLEL SAFE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 ae19f78850a682320d95925a65b141c4;

--- function session.is_chat_owner(uuid)
CREATE OR REPLACE FUNCTION session.is_chat_owner(chat uuid)
 RETURNS boolean
 LANGUAGE sql
 STABLE PARALLEL SAFE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 8c31d6c4e6ed1fa7014c87f8ed821555;

--- function session.is_deleted_user(text)
CREATE OR REPLACE FUNCTION session.is_deleted_user(subject text)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 11f1861d2360b92e4c6b4b60939cb4a5;

--- function session.raise_parameter_errors()
CREATE OR REPLACE FUNCTION session.raise_parameter_errors()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 8a53fc78ecc57915041f7fa06121a277;

--- function session.register_user(text,text,text,text)
CREATE OR REPLACE FUNCTION session.register_user(subject text, name text, email text, image text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 9c5f6464ff5e99390266e4fe361bf73d;

--- function session.selected_chat()
CREATE OR REPLACE FUNCTION session.selected_chat()
 RETURNS uuid
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 1c95d38c4d98607e327b7a468b103a78;

--- function session.selected_chats()
CREATE OR REPLACE FUNCTION session.selected_chats()
 RETURNS uuid[]
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 714732cf6b3e6fdab756ceec88ecec82;

--- function session.set_parameter_errors(text[],text[])
CREATE OR REPLACE FUNCTION session.set_parameter_errors(unknown text[], repeated text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 a621c23525a2866f2dab0e344af23535;

--- function session.set_selected_chats(uuid[])
CREATE OR REPLACE FUNCTION session.set_selected_chats(chats uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 9832dada697bb7fdcc03f98c6799c009;

--- function session.store_response(text,bytea,json)
CREATE OR REPLACE FUNCTION session.store_response(header text, fingerprint bytea, response json)
 RETURNS json
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 0df311fc90e828d1afdba0922da7703f;

--- function session.user_chats()
CREATE OR REPLACE FUNCTION session.user_chats()
 RETURNS SETOF uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS md5 7ead7357611a4f08cddfbe5707c20097;

--- function session.user_id()
CREATE OR REPLACE FUNCTION session.user_id()
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS md5 a0b2c79ba247c1799fd6fcf4635601f7;

--- function session.user_of_session(jsonb)
CREATE OR REPLACE FUNCTION session.user_of_session(digests jsonb)
 RETURNS text
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS md5 5ae2e8eb7dbcfa3d77e328df2a8a8627;

--- view analytics.activity_by_day
create view analytics.activity_by_day as
 SELECT ((starts_at AT TIME ZONE 'UTC'::text))::date AS day,
    messages,
    text_messages,
    code_messages,
    image_messages,
    active_users,
    active_chats,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_periods p
  WHERE (grain = 'day'::text);

--- view analytics.activity_by_hour
create view analytics.activity_by_hour as
 SELECT starts_at AS hour,
    messages,
    text_messages,
    code_messages,
    image_messages,
    active_users,
    active_chats,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_periods p
  WHERE (grain = 'hour'::text);

--- view analytics.chats
create view analytics.chats as
 SELECT c.key AS chat_key,
    c.created_on,
    d.last_message_on,
        CASE
            WHEN (d.messages >= 5) THEN d.messages
            ELSE NULL::bigint
        END AS messages,
    s.as_of
   FROM ((parley.rollup_chats c
     CROSS JOIN ( SELECT max(r.as_of) AS as_of
           FROM parley.rollup_state r) s)
     CROSS JOIN LATERAL ( SELECT c.last_message_on,
            c.messages
          WHERE (c.last_message_on < ((s.as_of AT TIME ZONE 'UTC'::text))::date)
        UNION ALL
         SELECT c.previous_message_on,
            (c.messages - c.last_day_messages)
          WHERE ((c.last_message_on >= ((s.as_of AT TIME ZONE 'UTC'::text))::date) AND (c.previous_message_on < ((s.as_of AT TIME ZONE 'UTC'::text))::date))) d)
  ORDER BY c.key
 OFFSET 0;

--- view analytics.chats_by_size_and_age
create view analytics.chats_by_size_and_age as
 SELECT min_age_days,
    min_messages,
    chats,
    inactive_chats,
    messages,
    inactive_messages,
    members,
    ( SELECT s.chats_and_settings_as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_chat_sizes c;

--- view analytics.dead_letter_events
create view analytics.dead_letter_events as
 SELECT id,
    event,
    recorded_at,
    dead_lettered_at,
    octet_length((payload)::text) AS bytes,
    "substring"(error, '^HTTP [0-9]{3}'::text) AS error
   FROM parley.outbox o
  WHERE (dead_lettered_at IS NOT NULL);

--- view analytics.event_health
create view analytics.event_health as
 SELECT ( SELECT count(*) AS count
           FROM ( SELECT
                   FROM parley.outbox_queue
                 LIMIT 100000) q) AS waiting_events,
    (GREATEST(EXTRACT(epoch FROM (clock_timestamp() - ( SELECT o.recorded_at
           FROM parley.outbox o
          WHERE (o.id = ( SELECT min(q.id) AS min
                   FROM parley.outbox_queue q))))), (0)::numeric))::numeric(12,3) AS lag_seconds,
    events AS dead_letter_events,
    last_at AS last_dead_lettered_at,
    now() AS as_of
   FROM ( SELECT count(*) AS events,
            max(o.dead_lettered_at) AS last_at
           FROM parley.outbox o
          WHERE (o.dead_lettered_at IS NOT NULL)) d;

--- view analytics.growth_by_week
create view analytics.growth_by_week as
 SELECT ((p.starts_at AT TIME ZONE 'UTC'::text))::date AS week,
    COALESCE(r.users, (0)::bigint) AS new_users,
    (p.active_users - COALESCE(r.users, (0)::bigint)) AS returning_users,
    p.active_users,
    (sum(COALESCE(r.users, (0)::bigint)) OVER (ORDER BY p.starts_at))::bigint AS cumulative_users,
    p.active_chats,
    p.messages,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM (parley.rollup_periods p
     LEFT JOIN parley.rollup_retention r ON (((r.cohort = ((p.starts_at AT TIME ZONE 'UTC'::text))::date) AND (r.week = r.cohort))))
  WHERE (p.grain = 'week'::text);

--- view analytics.response_times
create view analytics.response_times as
 SELECT day,
    (power((2.0)::double precision, ((bucket)::double precision / (8.0)::double precision)))::numeric(10,1) AS max_seconds,
    responses,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_responses r;

--- view analytics.response_times_by_day
create view analytics.response_times_by_day as
 SELECT day,
    (max(cumulative))::bigint AS responses,
    min(max_seconds) FILTER (WHERE (cumulative >= (0.5 * of_day))) AS median_seconds,
    min(max_seconds) FILTER (WHERE (cumulative >= (0.9 * of_day))) AS p90_seconds,
    as_of
   FROM ( SELECT r.day,
            r.max_seconds,
            r.as_of,
            sum(r.responses) OVER (PARTITION BY r.day ORDER BY r.max_seconds) AS cumulative,
            sum(r.responses) OVER (PARTITION BY r.day) AS of_day
           FROM analytics.response_times r) t
  GROUP BY day, as_of;

--- view analytics.retention_by_cohort
create view analytics.retention_by_cohort as
 SELECT c.cohort,
    (w.week)::date AS week,
    (((w.week)::date - c.cohort) / 7) AS weeks_later,
    c.users AS cohort_users,
    COALESCE(r.users, (0)::bigint) AS active_users,
    round(((COALESCE(r.users, (0)::bigint))::numeric / (c.users)::numeric), 4) AS retention_rate,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM ((parley.rollup_retention c
     CROSS JOIN LATERAL generate_series((c.cohort)::timestamp without time zone, (( SELECT (s.as_of - '00:00:00.000001'::interval)
           FROM parley.rollup_state s) AT TIME ZONE 'UTC'::text), '7 days'::interval) w(week))
     LEFT JOIN parley.rollup_retention r ON (((r.cohort = c.cohort) AND (r.week = (w.week)::date))))
  WHERE (c.week = c.cohort);

--- view analytics.search_health
create view analytics.search_health as
 SELECT (sum(t.n_live_tup))::bigint AS messages,
    (sum(t.n_dead_tup))::bigint AS dead_rows,
    (sum(t.n_ins_since_vacuum))::bigint AS pending_messages,
    min(COALESCE(t.last_autovacuum, t.last_vacuum)) AS oldest_vacuum_at,
    (sum(pg_table_size((t.relid)::regclass)))::bigint AS table_bytes,
    (sum(pg_relation_size((i.indexrelid)::regclass)))::bigint AS index_bytes,
    (sum(i.idx_scan))::bigint AS index_scans,
    now() AS as_of
   FROM (((pg_partition_tree('parley.message_words'::regclass) p(relid, parentrelid, isleaf, level)
     JOIN pg_stat_all_tables t ON ((t.relid = (p.relid)::oid)))
     JOIN pg_index x ON (((x.indrelid = (p.relid)::oid) AND (NOT x.indisunique))))
     JOIN pg_stat_all_indexes i ON ((i.indexrelid = x.indexrelid)))
  WHERE p.isleaf;

--- view analytics.settings_in_use
create view analytics.settings_in_use as
 SELECT setting,
    value,
    users,
    round(((users)::numeric / sum(users) OVER (PARTITION BY setting)), 4) AS share,
    ( SELECT s.chats_and_settings_as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_settings r;

--- view analytics.users
create view analytics.users as
 SELECT u.key AS user_key,
    u.cohort,
    d.last_message_on,
        CASE
            WHEN (d.messages >= 5) THEN d.messages
            ELSE NULL::bigint
        END AS messages,
    s.as_of
   FROM ((parley.rollup_users u
     CROSS JOIN ( SELECT max(r.as_of) AS as_of
           FROM parley.rollup_state r) s)
     CROSS JOIN LATERAL ( SELECT u.last_message_on,
            u.messages
          WHERE (u.last_message_on < ((s.as_of AT TIME ZONE 'UTC'::text))::date)
        UNION ALL
         SELECT u.previous_message_on,
            (u.messages - u.last_day_messages)
          WHERE ((u.last_message_on >= ((s.as_of AT TIME ZONE 'UTC'::text))::date) AND (u.previous_message_on < ((s.as_of AT TIME ZONE 'UTC'::text))::date))) d)
  ORDER BY u.key
 OFFSET 0;

--- option security_barrier of analytics.activity_by_day
alter view analytics.activity_by_day set (security_barrier = 'true');

--- option security_barrier of analytics.activity_by_hour
alter view analytics.activity_by_hour set (security_barrier = 'true');

--- option security_barrier of analytics.chats
alter view analytics.chats set (security_barrier = 'true');

--- option security_barrier of analytics.chats_by_size_and_age
alter view analytics.chats_by_size_and_age set (security_barrier = 'true');

--- option security_barrier of analytics.dead_letter_events
alter view analytics.dead_letter_events set (security_barrier = 'true');

--- option security_barrier of analytics.event_health
alter view analytics.event_health set (security_barrier = 'true');

--- option security_barrier of analytics.growth_by_week
alter view analytics.growth_by_week set (security_barrier = 'true');

--- option security_barrier of analytics.response_times
alter view analytics.response_times set (security_barrier = 'true');

--- option security_barrier of analytics.response_times_by_day
alter view analytics.response_times_by_day set (security_barrier = 'true');

--- option security_barrier of analytics.retention_by_cohort
alter view analytics.retention_by_cohort set (security_barrier = 'true');

--- option security_barrier of analytics.search_health
alter view analytics.search_health set (security_barrier = 'true');

--- option security_barrier of analytics.settings_in_use
alter view analytics.settings_in_use set (security_barrier = 'true');

--- option security_barrier of analytics.users
alter view analytics.users set (security_barrier = 'true');

--- trigger chats_after_insert on parley.chats
CREATE TRIGGER chats_after_insert AFTER INSERT ON parley.chats FOR EACH ROW WHEN ((new.owner_id IS NOT NULL)) EXECUTE FUNCTION parley.chats_after_insert();

--- trigger chats_before_delete on parley.chats
CREATE TRIGGER chats_before_delete BEFORE DELETE ON parley.chats FOR EACH ROW WHEN ((NOT old.is_being_removed)) EXECUTE FUNCTION parley.chats_before_removal();

--- trigger chats_before_insert on parley.chats
CREATE TRIGGER chats_before_insert BEFORE INSERT ON parley.chats FOR EACH ROW EXECUTE FUNCTION parley.chats_before_insert();

--- trigger chats_before_owner_update on parley.chats
CREATE TRIGGER chats_before_owner_update BEFORE UPDATE OF owner_id ON parley.chats FOR EACH ROW WHEN (((new.owner_id IS DISTINCT FROM old.owner_id) AND (new.owner_id IS NOT NULL))) EXECUTE FUNCTION parley.chats_before_owner_update();

--- trigger chats_before_removal on parley.chats
CREATE TRIGGER chats_before_removal BEFORE UPDATE OF is_being_removed ON parley.chats FOR EACH ROW WHEN ((new.is_being_removed AND (NOT old.is_being_removed))) EXECUTE FUNCTION parley.chats_before_removal();

--- trigger chats_before_update on parley.chats
CREATE TRIGGER chats_before_update BEFORE UPDATE OF title ON parley.chats FOR EACH ROW WHEN ((old.title IS DISTINCT FROM new.title)) EXECUTE FUNCTION parley.chats_before_update();

--- trigger members_after_delete on parley.members
CREATE TRIGGER members_after_delete AFTER DELETE ON parley.members REFERENCING OLD TABLE AS removed_members FOR EACH STATEMENT EXECUTE FUNCTION parley.members_after_delete();

--- trigger members_after_insert on parley.members
CREATE TRIGGER members_after_insert AFTER INSERT ON parley.members REFERENCING NEW TABLE AS new_members FOR EACH STATEMENT EXECUTE FUNCTION parley.members_after_insert();

--- trigger members_before_insert on parley.members
CREATE TRIGGER members_before_insert BEFORE INSERT ON parley.members FOR EACH ROW EXECUTE FUNCTION parley.members_before_insert();

--- trigger members_reject_key_update on parley.members
CREATE TRIGGER members_reject_key_update BEFORE UPDATE ON parley.members FOR EACH ROW WHEN (((old.chat_id IS DISTINCT FROM new.chat_id) OR (old.user_id IS DISTINCT FROM new.user_id))) EXECUTE FUNCTION parley.members_reject_key_update();

--- trigger messages_after_delete on parley.messages
CREATE TRIGGER messages_after_delete AFTER DELETE ON parley.messages REFERENCING OLD TABLE AS deleted_messages FOR EACH STATEMENT EXECUTE FUNCTION parley.messages_after_delete();

--- trigger messages_after_delete_words on parley.messages
CREATE TRIGGER messages_after_delete_words AFTER DELETE ON parley.messages REFERENCING OLD TABLE AS deleted_messages FOR EACH STATEMENT EXECUTE FUNCTION parley.messages_after_delete_words();

--- trigger messages_after_image_added on parley.messages
CREATE TRIGGER messages_after_image_added AFTER INSERT OR UPDATE OF content, type ON parley.messages FOR EACH ROW WHEN ((new.type = 'image'::text)) EXECUTE FUNCTION parley.messages_after_image_added();

--- trigger messages_after_image_removed on parley.messages
CREATE TRIGGER messages_after_image_removed AFTER DELETE OR UPDATE OF content, type ON parley.messages FOR EACH ROW WHEN ((old.type = 'image'::text)) EXECUTE FUNCTION parley.messages_after_image_removed();

--- trigger messages_after_type_update on parley.messages
CREATE TRIGGER messages_after_type_update AFTER UPDATE ON parley.messages REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION parley.messages_after_type_update();

--- trigger messages_after_write_words on parley.messages
CREATE TRIGGER messages_after_write_words AFTER INSERT OR UPDATE OF content, type ON parley.messages FOR EACH ROW EXECUTE FUNCTION parley.messages_after_write_words();

--- trigger messages_before_insert on parley.messages
CREATE TRIGGER messages_before_insert BEFORE INSERT ON parley.messages FOR EACH ROW EXECUTE FUNCTION parley.messages_before_insert();

--- trigger messages_before_update on parley.messages
CREATE TRIGGER messages_before_update BEFORE UPDATE OF content, type ON parley.messages FOR EACH ROW WHEN (((old.content IS DISTINCT FROM new.content) OR (old.type IS DISTINCT FROM new.type))) EXECUTE FUNCTION parley.messages_before_update();

--- trigger messages_reject_key_update on parley.messages
CREATE TRIGGER messages_reject_key_update BEFORE UPDATE ON parley.messages FOR EACH ROW WHEN (((old.chat_id IS DISTINCT FROM new.chat_id) OR (old.id IS DISTINCT FROM new.id))) EXECUTE FUNCTION parley.messages_reject_key_update();

--- trigger outbox_after_delete on parley.outbox
CREATE TRIGGER outbox_after_delete AFTER DELETE ON parley.outbox REFERENCING OLD TABLE AS removed_events FOR EACH STATEMENT EXECUTE FUNCTION parley.outbox_after_delete();

--- trigger outbox_after_truncate on parley.outbox
CREATE TRIGGER outbox_after_truncate AFTER TRUNCATE ON parley.outbox FOR EACH STATEMENT EXECUTE FUNCTION parley.outbox_after_delete();

--- trigger settings_before_update on parley.settings
CREATE TRIGGER settings_before_update BEFORE UPDATE ON parley.settings FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION parley.settings_before_update();

--- trigger users_after_delete on next_auth.users
CREATE TRIGGER users_after_delete AFTER DELETE ON next_auth.users FOR EACH ROW EXECUTE FUNCTION parley.users_after_delete();

--- trigger users_after_image_change on next_auth.users
CREATE TRIGGER users_after_image_change AFTER DELETE OR UPDATE OF image ON next_auth.users FOR EACH ROW EXECUTE FUNCTION parley.users_after_image_change();

--- trigger users_after_insert on next_auth.users
CREATE CONSTRAINT TRIGGER users_after_insert AFTER INSERT ON next_auth.users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION parley.users_after_insert();

--- trigger users_after_update on next_auth.users
CREATE TRIGGER users_after_update AFTER UPDATE OF name, image ON next_auth.users FOR EACH ROW WHEN (((old.name IS DISTINCT FROM new.name) OR (old.image IS DISTINCT FROM new.image))) EXECUTE FUNCTION parley.users_after_update();

--- trigger users_before_email_write on next_auth.users
CREATE TRIGGER users_before_email_write BEFORE INSERT OR UPDATE OF email ON next_auth.users FOR EACH ROW EXECUTE FUNCTION parley.users_before_email_write();

--- trigger users_before_update on next_auth.users
CREATE TRIGGER users_before_update BEFORE UPDATE OF name, email, image ON next_auth.users FOR EACH ROW WHEN (((old.name IS DISTINCT FROM new.name) OR (old.email IS DISTINCT FROM new.email) OR (old.image IS DISTINCT FROM new.image))) EXECUTE FUNCTION parley.users_before_update();

alter table next_auth.accounts enable row level security;

alter table next_auth.sessions enable row level security;

alter table next_auth.users enable row level security;

alter table next_auth.verification_token enable row level security;

alter table parley.chat_images enable row level security;

alter table parley.chats enable row level security;

alter table parley.deleted_users enable row level security;

alter table parley.idempotency_keys enable row level security;

alter table parley.image_cleanup enable row level security;

alter table parley.letter_variants enable row level security;

alter table parley.limits enable row level security;

alter table parley.members enable row level security;

alter table parley.message_blocks enable row level security;

alter table parley.message_words enable row level security;

alter table parley.message_words_0 enable row level security;

alter table parley.message_words_1 enable row level security;

alter table parley.message_words_10 enable row level security;

alter table parley.message_words_11 enable row level security;

alter table parley.message_words_12 enable row level security;

alter table parley.message_words_13 enable row level security;

alter table parley.message_words_14 enable row level security;

alter table parley.message_words_15 enable row level security;

alter table parley.message_words_2 enable row level security;

alter table parley.message_words_3 enable row level security;

alter table parley.message_words_4 enable row level security;

alter table parley.message_words_5 enable row level security;

alter table parley.message_words_6 enable row level security;

alter table parley.message_words_7 enable row level security;

alter table parley.message_words_8 enable row level security;

alter table parley.message_words_9 enable row level security;

alter table parley.messages enable row level security;

alter table parley.outbox enable row level security;

alter table parley.outbox_queue enable row level security;

alter table parley.outbox_state enable row level security;

alter table parley.pseudonym_key enable row level security;

alter table parley.read_markers enable row level security;

alter table parley.repeatable_migrations enable row level security;

alter table parley.rollup_active_keys enable row level security;

alter table parley.rollup_chat_sizes enable row level security;

alter table parley.rollup_chats enable row level security;

alter table parley.rollup_periods enable row level security;

alter table parley.rollup_responses enable row level security;

alter table parley.rollup_retention enable row level security;

alter table parley.rollup_settings enable row level security;

alter table parley.rollup_state enable row level security;

alter table parley.rollup_users enable row level security;

alter table parley.settings enable row level security;

--- policy accounts_web on next_auth.accounts
create policy accounts_web on next_auth.accounts for all to parley_web
    using (true);

--- policy chats_delete on parley.chats
create policy chats_delete on parley.chats for delete to parley_api
    using ((owner_id = ( SELECT session.user_id() AS user_id)));

--- policy chats_insert on parley.chats
create policy chats_insert on parley.chats for insert to parley_api
    with check ((owner_id = ( SELECT session.user_id() AS user_id)));

--- policy chats_select on parley.chats
create policy chats_select on parley.chats for select to parley_api
    using (((id = ( SELECT session.selected_chat() AS selected_chat)) OR (id = ANY (( SELECT session.selected_chats() AS selected_chats)::uuid[])) OR (owner_id = ( SELECT session.user_id() AS user_id)) OR (id IN ( SELECT session.user_chats() AS user_chats))));

--- policy chats_update on parley.chats
create policy chats_update on parley.chats for update to parley_api
    using ((owner_id = ( SELECT session.user_id() AS user_id)));

--- policy members_delete on parley.members
create policy members_delete on parley.members for delete to parley_api
    using (((user_id = ( SELECT session.user_id() AS user_id)) <> session.is_chat_owner(chat_id)));

--- policy members_insert on parley.members
create policy members_insert on parley.members for insert to parley_api
    with check (session.is_chat_owner(chat_id));

--- policy members_select on parley.members
create policy members_select on parley.members for select to parley_api
    using (((chat_id = ( SELECT session.selected_chat() AS selected_chat)) OR (user_id = ( SELECT session.user_id() AS user_id)) OR (chat_id IN ( SELECT session.user_chats() AS user_chats))));

--- policy messages_delete on parley.messages
create policy messages_delete on parley.messages for delete to parley_api
    using ((((user_id = ( SELECT session.user_id() AS user_id)) OR session.is_chat_owner(chat_id)) AND ((chat_id = ( SELECT session.selected_chat() AS selected_chat)) OR (chat_id IN ( SELECT session.user_chats() AS user_chats)))));

--- policy messages_insert on parley.messages
create policy messages_insert on parley.messages for insert to parley_api
    with check (((user_id = ( SELECT session.user_id() AS user_id)) AND ((chat_id = ( SELECT session.selected_chat() AS selected_chat)) OR (chat_id IN ( SELECT session.user_chats() AS user_chats)))));

--- policy messages_select on parley.messages
create policy messages_select on parley.messages for select to parley_api
    using (((chat_id = ( SELECT session.selected_chat() AS selected_chat)) OR (chat_id = ANY (( SELECT session.selected_chats() AS selected_chats)::uuid[])) OR (chat_id IN ( SELECT session.user_chats() AS user_chats))));

--- policy messages_update on parley.messages
create policy messages_update on parley.messages for update to parley_api
    using (((user_id = ( SELECT session.user_id() AS user_id)) AND ((chat_id = ( SELECT session.selected_chat() AS selected_chat)) OR (chat_id IN ( SELECT session.user_chats() AS user_chats)))));

--- policy read_markers_select on parley.read_markers
create policy read_markers_select on parley.read_markers for select to parley_api
    using (((chat_id = ( SELECT session.selected_chat() AS selected_chat)) OR (user_id = ( SELECT session.user_id() AS user_id)) OR (chat_id IN ( SELECT session.user_chats() AS user_chats))));

--- policy sessions_web on next_auth.sessions
create policy sessions_web on next_auth.sessions for all to parley_web
    using (true);

--- policy settings_select on parley.settings
create policy settings_select on parley.settings for select to parley_api
    using ((user_id = ( SELECT session.user_id() AS user_id)));

--- policy settings_update on parley.settings
create policy settings_update on parley.settings for update to parley_api
    using ((user_id = ( SELECT session.user_id() AS user_id)));

--- policy users_select on next_auth.users
create policy users_select on next_auth.users for select to parley_api
    using ((id = ( SELECT session.user_id() AS user_id)));

--- policy users_web on next_auth.users
create policy users_web on next_auth.users for all to parley_web
    using (true);

--- policy verification_token_web on next_auth.verification_token
create policy verification_token_web on next_auth.verification_token for all to parley_web
    using (true);

grant delete on next_auth.accounts to parley_web;

grant delete on next_auth.sessions to parley_web;

grant delete on next_auth.users to parley_web;

grant delete on next_auth.verification_token to parley_web;

grant delete on parley.chats to parley_api;

grant delete on parley.members to parley_api;

grant delete on parley.messages to parley_api;

grant execute on function api.add_chat_image(text,text,integer,integer) to parley_api;

grant execute on function api.add_member(text,jsonb) to parley_api;

grant execute on function api.authorize_channel(text,text,text[]) to parley_api;

grant execute on function api.authorize_upload(text) to parley_api;

grant execute on function api.authorize_user(text) to parley_api;

grant execute on function api.check_readiness() to parley_api;

grant execute on function api.claim_unused_image() to parley_api;

grant execute on function api.confirm_image_removal(text) to parley_api;

grant execute on function api.create_chat(jsonb) to parley_api;

grant execute on function api.delete_chat(text) to parley_api;

grant execute on function api.delete_message(text,text) to parley_api;

grant execute on function api.get_chat(text) to parley_api;

grant execute on function api.get_field_schemas() to parley_api;

grant execute on function api.get_message(text,text,text) to parley_api;

grant execute on function api.get_profile() to parley_api;

grant execute on function api.get_settings() to parley_api;

grant execute on function api.get_wal_position() to parley_api;

grant execute on function api.list_chat_events(text,text,text,text) to parley_api;

grant execute on function api.list_chats(text,text,text,text,text) to parley_api;

grant execute on function api.list_events(text,text,text) to parley_api;

grant execute on function api.list_members(text,text,text,text,text) to parley_api;

grant execute on function api.list_messages(text,text,text,text,text,text,text,text,text,text,text,text) to parley_api;

grant execute on function api.list_users(text) to parley_api;

grant execute on function api.mark_read(text,jsonb) to parley_api;

grant execute on function api.parse_json(bytea) to parley_api;

grant execute on function api.register_image_upload(text) to parley_api;

grant execute on function api.remove_member(text,text) to parley_api;

grant execute on function api.search(text,text,text,text,text,text,text,text,text,text) to parley_api;

grant execute on function api.send_message(text,jsonb) to parley_api;

grant execute on function api.set_image(text) to parley_api;

grant execute on function api.sync(text,text,text) to parley_api;

grant execute on function api.update_chat(text,jsonb) to parley_api;

grant execute on function api.update_member(text,text,jsonb) to parley_api;

grant execute on function api.update_message(text,text,jsonb) to parley_api;

grant execute on function api.update_profile(jsonb) to parley_api;

grant execute on function api.update_settings(jsonb) to parley_api;

grant execute on function listener.ack_and_fetch_events(bigint[],uuid,uuid[],bigint[],integer,integer,integer) to parley_listener;

grant execute on function listener.dead_letter(bigint,text) to parley_listener;

grant execute on function listener.disable_notify() to parley_listener;

grant execute on function listener.enable_notify() to parley_listener;

grant execute on function listener.health() to parley_listener;

grant execute on function listener.outbox_health() to parley_listener;

grant execute on function listener.purge_deleted_chats(integer) to parley_listener;

grant execute on function listener.purge_events(interval,integer) to parley_listener;

grant execute on function listener.purge_idempotency_keys(integer) to parley_listener;

grant execute on function listener.purge_memberships(integer) to parley_listener;

grant execute on function listener.roll_up(integer) to parley_listener;

grant execute on function listener.roll_up_chats_and_settings() to parley_listener;

grant execute on function listener.try_lead() to parley_listener;

grant execute on function parley.activity_key(parley.chats) to parley_api;

grant execute on function parley.add_etags(json,text[]) to parley_api;

grant execute on function parley.add_field(json,text,json) to parley_api;

grant execute on function parley.add_included_fields(json,text,uuid[],uuid[]) to parley_api;

grant execute on function parley.add_own_chat(parley.outbox,json) to parley_api;

grant execute on function parley.add_response_times(uuid[],uuid[],text[]) to parley_api;

grant execute on function parley.add_to_rollup_chats(uuid[],uuid[]) to parley_api;

grant execute on function parley.add_to_rollups(uuid[],uuid[],text[],text[]) to parley_api;

grant execute on function parley.advance_backfill_week(uuid,uuid) to parley_api;

grant execute on function parley.advance_own_read_marker(uuid) to parley_api;

grant execute on function parley.advance_read_marker(uuid,text,uuid) to parley_api;

grant execute on function parley.advance_seq(parley.chats) to parley_api;

grant execute on function parley.allocate_message(uuid) to parley_api;

grant execute on function parley.around_errors(text,text,text,text,text,text) to parley_api;

grant execute on function parley.assert_authenticated(text) to parley_api;

grant execute on function parley.assert_cursor_not_expired(text,pg_snapshot) to parley_api;

grant execute on function parley.assert_has_any(jsonb,text[]) to parley_api;

grant execute on function parley.assert_if_match(text) to parley_api;

grant execute on function parley.assert_is_object(jsonb) to parley_api;

grant execute on function parley.assert_owner(uuid) to parley_api;

grant execute on function parley.assert_preconditions(text) to parley_api;

grant execute on function parley.assert_stored_image(text) to parley_api;

grant execute on function parley.assert_writable() to parley_api;

grant execute on function parley.authorize_subscription(text) to parley_api;

grant execute on function parley.authors_json(uuid[],uuid[]) to parley_api;

grant execute on function parley.begin_chat_removal(uuid) to parley_api;

grant execute on function parley.boundary_patterns() to parley_api;

grant execute on function parley.build_term_forms(text,boolean,boolean) to parley_api;

grant execute on function parley.channel_names_errors(text,text[]) to parley_api;

grant execute on function parley.chat_channel(uuid) to parley_api;

grant execute on function parley.chat_event_payload(parley.outbox,text) to parley_api;

grant execute on function parley.chat_json(parley.chats,parley.messages,parley.read_state,json) to parley_api;

grant execute on function parley.chat_revision(parley.chats) to parley_api;

grant execute on function parley.chat_version(bigint,uuid) to parley_api;

grant execute on function parley.check_preconditions(text) to parley_api;

grant execute on function parley.close_block(uuid) to parley_api;

grant execute on function parley.count_blocks(uuid) to parley_api;

grant execute on function parley.count_messages(uuid,parley.message_filter) to parley_api;

grant execute on function parley.count_messages_in_range(uuid,parley.message_filter) to parley_api;

grant execute on function parley.count_unread(parley.chats,uuid) to parley_api;

grant execute on function parley.decode_base64url(text) to parley_api;

grant execute on function parley.decode_cursor(text) to parley_api;

grant execute on function parley.encode_base64url(bytea) to parley_api;

grant execute on function parley.encode_cursor(pg_snapshot,pg_snapshot,uuid,bigint) to parley_api;

grant execute on function parley.entry_with_user(parley.outbox,json,text,json) to parley_api;

grant execute on function parley.epoch() to parley_api;

grant execute on function parley.etag(text) to parley_api;

grant execute on function parley.event_channels(parley.outbox) to parley_api;

grant execute on function parley.event_entry_json(parley.outbox,json,text) to parley_api;

grant execute on function parley.event_json(parley.outbox,parley.messages,text) to parley_api;

grant execute on function parley.event_message_id(parley.outbox) to parley_api;

grant execute on function parley.event_page_json(json,json,boolean,text,json) to parley_api;

grant execute on function parley.event_user_id(parley.outbox) to parley_api;

grant execute on function parley.expand_phrases(text,text[],text) to parley_api;

grant execute on function parley.fetch_chat(uuid) to parley_api;

grant execute on function parley.fetch_chat_page(parley.page_request,text,boolean) to parley_api;

grant execute on function parley.fetch_initial_state(text,text) to parley_api;

grant execute on function parley.field_error(text,jsonb) to parley_api;

grant execute on function parley.field_errors(jsonb,text[],text[]) to parley_api;

grant execute on function parley.filter_errors(text,text,text,text) to parley_api;

grant execute on function parley.find_chat_events(bigint,bigint,text) to parley_api;

grant execute on function parley.find_chat_page(parley.page_request) to parley_api;

grant execute on function parley.find_chats_with_new_events(pg_snapshot,pg_snapshot,uuid) to parley_api;

grant execute on function parley.find_first_new_seq(uuid,pg_snapshot) to parley_api;

grant execute on function parley.find_fragment(text,text,integer) to parley_api;

grant execute on function parley.find_hit_page(uuid,text,text,parley.message_filter,parley.page_request) to parley_api;

grant execute on function parley.find_hits(uuid,parley.search_query,parley.message_filter) to parley_api;

grant execute on function parley.find_hits_globally(parley.search_query,parley.message_filter,uuid[],bigint) to parley_api;

grant execute on function parley.find_hits_in_chat(uuid,parley.search_query,parley.message_filter) to parley_api;

grant execute on function parley.find_hits_per_chat(uuid[],parley.search_query,parley.message_filter) to parley_api;

grant execute on function parley.find_leader() to parley_api;

grant execute on function parley.find_member_page(parley.page_request,text) to parley_api;

grant execute on function parley.find_message(text,text) to parley_api;

grant execute on function parley.find_message_page(parley.message_filter,parley.page_request) to parley_api;

grant execute on function parley.find_new_events(pg_snapshot,pg_snapshot,uuid,bigint,bigint,text) to parley_api;

grant execute on function parley.find_new_members(jsonb) to parley_api;

grant execute on function parley.find_page_around(uuid,parley.message_filter,parley.page_request) to parley_api;

grant execute on function parley.find_profile() to parley_api;

grant execute on function parley.find_read_state(uuid) to parley_api;

grant execute on function parley.find_settings() to parley_api;

grant execute on function parley.find_sync_chat(uuid) to parley_api;

grant execute on function parley.find_user(text,text) to parley_api;

grant execute on function parley.format_phrase(text,boolean) to parley_api;

grant execute on function parley.generate_uuid7(timestamp with time zone,bigint) to parley_api;

grant execute on function parley.has_loaded_functions() to parley_api;

grant execute on function parley.has_more(parley.page_request,anyarray) to parley_api;

grant execute on function parley.highlight_words(text,parley.highlight) to parley_api;

grant execute on function parley.hit_json(parley.messages,parley.highlight,boolean) to parley_api;

grant execute on function parley.idempotency_key_error(text) to parley_api;

grant execute on function parley.idempotency_key_pattern() to parley_api;

grant execute on function parley.idempotency_key_ttl() to parley_api;

grant execute on function parley.image_name(text) to parley_api;

grant execute on function parley.include_error(text,text[]) to parley_api;

grant execute on function parley.is_after_snapshot(xid8,pg_snapshot) to parley_api;

grant execute on function parley.is_being_removed(parley.chats) to parley_api;

grant execute on function parley.is_cheap_to_scan(uuid,parley.message_filter) to parley_api;

grant execute on function parley.is_end_of_access(parley.outbox,text) to parley_api;

grant execute on function parley.is_etag_listed(text,text) to parley_api;

grant execute on function parley.is_hit(tsvector,text,parley.search_query) to parley_api;

grant execute on function parley.is_hit_by_words(tsvector,text,parley.search_query) to parley_api;

grant execute on function parley.is_image_being_removed(text) to parley_api;

grant execute on function parley.is_image_used(text) to parley_api;

grant execute on function parley.is_included(text,text) to parley_api;

grant execute on function parley.is_small(parley.chats) to parley_api;

grant execute on function parley.iso8601(timestamp with time zone) to parley_api;

grant execute on function parley.last_counted_event() to parley_api;

grant execute on function parley.last_message_at(parley.chats) to parley_api;

grant execute on function parley.last_message_json(parley.messages) to parley_api;

grant execute on function parley.latest_chats() to parley_api;

grant execute on function parley.leader_lock_key() to parley_api;

grant execute on function parley.letter_pattern(text) to parley_api;

grant execute on function parley.lineage() to parley_api;

grant execute on function parley.list_contacts(text) to parley_api;

grant execute on function parley.list_members_at(parley.outbox) to parley_api;

grant execute on function parley.list_publications(parley.outbox) to parley_api;

grant execute on function parley.list_recipients(parley.outbox) to parley_api;

grant execute on function parley.listed_chat_json(parley.chats,parley.messages,json,text,boolean) to parley_api;

grant execute on function parley.lock_idempotency_key(text) to parley_api;

grant execute on function parley.lock_image(text) to parley_api;

grant execute on function parley.lock_selected_chat() to parley_api;

grant execute on function parley.mark_read_after_readmission(uuid,text) to parley_api;

grant execute on function parley.max_scan_bytes() to parley_api;

grant execute on function parley.max_scan_messages() to parley_api;

grant execute on function parley.max_snippet_length() to parley_api;

grant execute on function parley.member_channels(parley.outbox) to parley_api;

grant execute on function parley.member_cursor_error(text) to parley_api;

grant execute on function parley.member_page_errors(text,text,text,text) to parley_api;

grant execute on function parley.members_json(text[]) to parley_api;

grant execute on function parley.message_fields(parley.messages) to parley_api;

grant execute on function parley.message_image(parley.messages) to parley_api;

grant execute on function parley.message_version(parley.messages) to parley_api;

grant execute on function parley.messages_with_keys(uuid[],uuid[],text[],text[]) to parley_api;

grant execute on function parley.min_uuid7(timestamp with time zone) to parley_api;

grant execute on function parley.nested_objects(json) to parley_api;

grant execute on function parley.next_event_ids(uuid,uuid[],bigint[],integer,integer) to parley_api;

grant execute on function parley.next_gap(parley.chats) to parley_api;

grant execute on function parley.next_message_at(parley.chats) to parley_api;

grant execute on function parley.next_seq(parley.chats,bigint) to parley_api;

grant execute on function parley.next_updated_at(timestamp with time zone) to parley_api;

grant execute on function parley.not_blank_pattern() to parley_api;

grant execute on function parley.notify_lock_key() to parley_api;

grant execute on function parley.now_ms() to parley_api;

grant execute on function parley.number_error(text,text) to parley_api;

grant execute on function parley.number_limits(text) to parley_api;

grant execute on function parley.number_schema(text,bigint) to parley_api;

grant execute on function parley.omit_content(json,text) to parley_api;

grant execute on function parley.operators_error(text) to parley_api;

grant execute on function parley.own_event_payload(parley.outbox) to parley_api;

grant execute on function parley.page_errors(text,text,text,text) to parley_api;

grant execute on function parley.parse_end_date(text) to parley_api;

grant execute on function parley.parse_event_limit(text) to parley_api;

grant execute on function parley.parse_filter(text,text,text) to parley_api;

grant execute on function parley.parse_highlight(text) to parley_api;

grant execute on function parley.parse_idempotency_key(text) to parley_api;

grant execute on function parley.parse_member_page(text,text,text,text) to parley_api;

grant execute on function parley.parse_page(text,text,text,text) to parley_api;

grant execute on function parley.parse_search(text) to parley_api;

grant execute on function parley.parse_search_terms(text) to parley_api;

grant execute on function parley.parse_timestamp(text) to parley_api;

grant execute on function parley.parse_uuid(text) to parley_api;

grant execute on function parley.profile_json(next_auth.users) to parley_api;

grant execute on function parley.pseudonym(text,text) to parley_api;

grant execute on function parley.public_user_json(text,text,text) to parley_api;

grant execute on function parley.purge_active_keys() to parley_api;

grant execute on function parley.pusher_user_id(text) to parley_api;

grant execute on function parley.queued_chats(uuid) to parley_api;

grant execute on function parley.raise_error(text,text,jsonb) to parley_api;

grant execute on function parley.raise_forbidden(text) to parley_api;

grant execute on function parley.raise_invalid(jsonb) to parley_api;

grant execute on function parley.raise_not_found(text) to parley_api;

grant execute on function parley.record_authorization(uuid) to parley_api;

grant execute on function parley.record_event(uuid,bigint,text,json,text[],text,timestamp with time zone,boolean,text) to parley_api;

grant execute on function parley.recount_blocks(uuid,uuid[]) to parley_api;

grant execute on function parley.recount_chat(uuid) to parley_api;

grant execute on function parley.requeue_events(bigint[]) to parley_api;

grant execute on function parley.reset_rollups() to parley_api;

grant execute on function parley.restrict_authorization(json,json) to parley_api;

grant execute on function parley.roll_up_backfill_batch(parley.rollup_state,integer) to parley_api;

grant execute on function parley.roll_up_chats() to parley_api;

grant execute on function parley.roll_up_event_batch(parley.rollup_state,integer) to parley_api;

grant execute on function parley.roll_up_settings() to parley_api;

grant execute on function parley.search_by_relevance(uuid,parley.search_query,parley.message_filter,parley.page_request) to parley_api;

grant execute on function parley.search_chat(parley.search_query,parley.message_filter,parley.page_request) to parley_api;

grant execute on function parley.search_chats(parley.search_query,parley.message_filter,parley.page_request) to parley_api;

grant execute on function parley.select_chat(text) to parley_api;

grant execute on function parley.set_chat_seq_header() to parley_api;

grant execute on function parley.set_response_etag(text) to parley_api;

grant execute on function parley.set_response_links(parley.page_request,anyarray,text,boolean) to parley_api;

grant execute on function parley.settings_json(parley.settings) to parley_api;

grant execute on function parley.skip_blocks(uuid,parley.message_filter,bigint) to parley_api;

grant execute on function parley.skipped_until(parley.chats) to parley_api;

grant execute on function parley.slice_hits(uuid[],parley.page_request) to parley_api;

grant execute on function parley.snippet(text,parley.highlight,boolean) to parley_api;

grant execute on function parley.socket_id_error(text) to parley_api;

grant execute on function parley.socket_id_pattern() to parley_api;

grant execute on function parley.sort_errors(text,text,text,text) to parley_api;

grant execute on function parley.spelling_pattern(text) to parley_api;

grant execute on function parley.start_new_epoch() to parley_api;

grant execute on function parley.system_identifier() to parley_api;

grant execute on function parley.text_schema(text,text) to parley_api;

grant execute on function parley.timeline() to parley_api;

grant execute on function parley.timestamp_error(text) to parley_api;

grant execute on function parley.transfer_ownership(text) to parley_api;

grant execute on function parley.trim_fragment(text,boolean,boolean) to parley_api;

grant execute on function parley.trim_page(parley.page_request,anyarray) to parley_api;

grant execute on function parley.try_authorize(text) to parley_api;

grant execute on function parley.update_counters_after_delete(uuid,uuid[]) to parley_api;

grant execute on function parley.user_channel(text) to parley_api;

grant execute on function parley.user_data() to parley_api;

grant execute on function parley.user_name() to parley_api;

grant execute on function parley.user_queue_id(text) to parley_api;

grant execute on function parley.user_reference_errors(jsonb) to parley_api;

grant execute on function parley.validate_body(jsonb,text[],text[]) to parley_api;

grant execute on function parley.validate_message_query(text,text,text,text,text,text,text,text,text,text,text,text) to parley_api;

grant execute on function parley.wait_for_image_removal(text) to parley_api;

grant execute on function parley.write_lineage() to parley_api;

grant execute on function rules.allowed_values(text) to parley_api;

grant execute on function rules.can_be_blank(text) to parley_api;

grant execute on function rules.decompose(text,text) to parley_api;

grant execute on function rules.digits() to parley_api;

grant execute on function rules.emoji() to parley_api;

grant execute on function rules.fold(text,integer) to parley_api;

grant execute on function rules.ignorable() to parley_api;

grant execute on function rules.is_blank(text) to parley_api;

grant execute on function rules.is_email(text) to parley_api;

grant execute on function rules.is_image_url(text) to parley_api;

grant execute on function rules.join_compounds(text) to parley_api;

grant execute on function rules.length_limits(text) to parley_api;

grant execute on function rules.lower_email(text) to parley_api;

grant execute on function rules.search_document(text) to parley_api;

grant execute on function rules.separators() to parley_api;

grant execute on function rules.split_words(text) to parley_api;

grant execute on function rules.stream_safe(text) to parley_api;

grant execute on function rules.tokenize(text) to parley_api;

grant execute on function rules.unspaced() to parley_api;

grant execute on function rules.uuid7_timestamp(uuid) to parley_api;

grant execute on function rules.validation_error(text,text) to parley_api;

grant execute on function session.authenticate(jsonb,text,text,text) to parley_api;

grant execute on function session.authenticate_idempotent(jsonb,text,text,bytea) to parley_api;

grant execute on function session.find_response(text,bytea) to parley_api;

grant execute on function session.is_chat_member(uuid) to parley_api;

grant execute on function session.is_chat_owner(uuid) to parley_api;

grant execute on function session.is_deleted_user(text) to parley_api;

grant execute on function session.raise_parameter_errors() to parley_api;

grant execute on function session.register_user(text,text,text,text) to parley_api;

grant execute on function session.selected_chat() to parley_api;

grant execute on function session.selected_chats() to parley_api;

grant execute on function session.set_parameter_errors(text[],text[]) to parley_api;

grant execute on function session.set_selected_chats(uuid[]) to parley_api;

grant execute on function session.store_response(text,bytea,json) to parley_api;

grant execute on function session.user_chats() to parley_api;

grant execute on function session.user_id() to parley_api;

grant execute on function session.user_of_session(jsonb) to parley_api;

grant insert on next_auth.accounts to parley_web;

grant insert on next_auth.sessions to parley_web;

grant insert on next_auth.verification_token to parley_web;

grant select on analytics.activity_by_day to parley_analyst;

grant select on analytics.activity_by_hour to parley_analyst;

grant select on analytics.chats to parley_analyst;

grant select on analytics.chats_by_size_and_age to parley_analyst;

grant select on analytics.dead_letter_events to parley_analyst;

grant select on analytics.event_health to parley_analyst;

grant select on analytics.growth_by_week to parley_analyst;

grant select on analytics.response_times to parley_analyst;

grant select on analytics.response_times_by_day to parley_analyst;

grant select on analytics.retention_by_cohort to parley_analyst;

grant select on analytics.search_health to parley_analyst;

grant select on analytics.settings_in_use to parley_analyst;

grant select on analytics.users to parley_analyst;

grant select on next_auth.accounts to parley_web;

grant select on next_auth.sessions to parley_web;

grant select on next_auth.users to parley_api;

grant select on next_auth.users to parley_web;

grant select on next_auth.verification_token to parley_web;

grant select on parley.chats to parley_api;

grant select on parley.members to parley_api;

grant select on parley.messages to parley_api;

grant select on parley.read_markers to parley_api;

grant select on parley.settings to parley_api;

grant update on next_auth.accounts to parley_web;

grant update on next_auth.sessions to parley_web;

grant update on next_auth.verification_token to parley_web;

grant usage on schema analytics to parley_analyst;

grant usage on schema api to parley_api;

grant usage on schema listener to parley_listener;

grant usage on schema next_auth to parley_api;

grant usage on schema next_auth to parley_web;

grant usage on schema parley to parley_api;

grant usage on schema rules to parley_api;

grant usage on schema session to parley_api;

grant insert ("emailVerified") on next_auth.users to parley_web;

grant insert (chat_id) on parley.members to parley_api;

grant insert (chat_id) on parley.messages to parley_api;

grant insert (content) on parley.messages to parley_api;

grant insert (email) on next_auth.users to parley_web;

grant insert (id) on next_auth.users to parley_web;

grant insert (image) on next_auth.users to parley_web;

grant insert (name) on next_auth.users to parley_web;

grant insert (title) on parley.chats to parley_api;

grant insert (type) on parley.messages to parley_api;

grant insert (user_id) on parley.members to parley_api;

grant update ("emailVerified") on next_auth.users to parley_web;

grant update (always_show_code) on parley.settings to parley_api;

grant update (content) on parley.messages to parley_api;

grant update (context) on parley.settings to parley_api;

grant update (email) on next_auth.users to parley_web;

grant update (image) on next_auth.users to parley_web;

grant update (model) on parley.settings to parley_api;

grant update (name) on next_auth.users to parley_web;

grant update (response_style) on parley.settings to parley_api;

grant update (runtime) on parley.settings to parley_api;

grant update (theme) on parley.settings to parley_api;

grant update (title) on parley.chats to parley_api;

grant update (type) on parley.messages to parley_api;
