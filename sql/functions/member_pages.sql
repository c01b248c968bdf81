-- Pages of a chat's members. Unlike other lists, this one begins with the oldest item: the member who joined first.
--
--   api.list_members             GET /api/chats/{chatId}/members
--   parley.member_page_errors    the errors of page, limit, before and after
--   parley.member_cursor_error   the error of before or after, or null
--   parley.parse_member_page     the page request of page, limit, before and after
--   parley.find_member_page      the user ids of a page of the selected chat's members, and their total number
--   parley.members_json          members of the selected chat, formatted
--
-- The functions of paging.sql build the page. A page before a member is read against the order of the list, like a page after a
-- message in other lists, so it is the one whose page request has is_ascending.

create or replace function api.list_members(
    chat_id text, page text default null, "limit" text default null, before text default null, after text default null)
returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    page_request parley.page_request;
    users text[];
    total bigint;
begin
    perform parley.select_chat(chat_id), parley.set_chat_seq_header();
    perform parley.raise_invalid(parley.member_page_errors(page, "limit", before, after));
    page_request := parley.parse_member_page(page, "limit", before, after);
    select p.users, p.total into users, total from parley.find_member_page(page_request, coalesce(before, after)) p;
    perform parley.set_response_links(page_request, users, is_oldest_first => true);
    return json_build_object(
        'members', (
            select coalesce(json_agg(m.member order by m.joined_at, m.user_id), '[]')
            from parley.members_json(parley.trim_page(page_request, users)) m),
        'total', total,
        'page', page_request.number,
        'limit', page_request.size);
end $$;
comment on function api.list_members(text, text, text, text, text) is
    'Lists the members of a chat, the longest-standing first: {"members": [{"userId", "name", "image", "role", "joinedAt", "lastReadMessageId"}], "total", "page", "limit"}. limit is 1 to 1000, by default 100. before or after, in place of page, is the user id of a member, and returns those who joined before or after that member; page is then null.';

create or replace function parley.member_page_errors(page text, "limit" text, before text, after text) returns jsonb
language sql stable as $$
    select jsonb_build_object(
        'page', case when coalesce(before, after) is not null and page is not null then 'cannot be combined with before or after'
            else parley.number_error('page', page) end,
        'limit', parley.number_error('member_limit', "limit"),
        'before', parley.member_cursor_error(before),
        'after', case when before is not null and after is not null then 'cannot be combined with before'
            else parley.member_cursor_error(after) end)
$$;

create or replace function parley.member_cursor_error(cursor text) returns text
language sql stable as $$
    select case when cursor is not null
            and not exists (select from parley.members m where m.chat_id = (select session.selected_chat()) and m.user_id = cursor)
        then 'must be the userId of a member' end
$$;

create or replace function parley.parse_member_page(page text, "limit" text, before text, after text) returns parley.page_request
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    page_request parley.page_request := parley.parse_page(page, coalesce("limit", '100'), null, null);
begin
    if coalesce(before, after) is not null then
        page_request.number := null;
        page_request.is_ascending := before is not null;
    end if;
    return page_request;
end $$;

-- Returns one member more than the page has, if there is one: the last or, in a page before a member, the first. Members who are
-- being removed because their account was deleted are among the members, but not in members_json().
create or replace function parley.find_member_page(
    page_request parley.page_request, cursor text, out users text[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    chat constant uuid := session.selected_chat();
    max_users constant bigint := page_request.size + 1;
    cursor_time constant timestamptz := (
        select m.joined_at from parley.members m where m.chat_id = chat and m.user_id = cursor);
begin
    total := (select c.member_count from parley.chats c where c.id = chat);
    if page_request.is_ascending then
        users := array(
            select p.user_id
            from (
                select m.joined_at, m.user_id from parley.members m
                where m.chat_id = chat and (m.joined_at, m.user_id) < (cursor_time, cursor)
                order by m.joined_at desc, m.user_id desc limit max_users) p
            order by p.joined_at, p.user_id);
    else
        users := array(
            select m.user_id from parley.members m
            where m.chat_id = chat and (m.joined_at, m.user_id) > (coalesce(cursor_time, '-infinity'), coalesce(cursor, ''))
            order by m.joined_at, m.user_id limit max_users offset page_request.skip);
    end if;
end $$;

-- Returns names and images of other users, but only those of members of the selected chat.
create or replace function parley.members_json(users text[], out user_id text, out joined_at timestamptz, out member json)
returns setof record
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
    return query
    select m.user_id, m.joined_at, json_build_object(
        'userId', m.user_id,
        'name', u.name,
        'image', u.image,
        'role', case when m.user_id = c.owner_id then 'owner' else 'member' end,
        'joinedAt', parley.iso8601(m.joined_at),
        'lastReadMessageId', r.last_read_message_id)
    from parley.members m
        join parley.chats c on c.id = m.chat_id
        join next_auth.users u on u.id = m.user_id
        left join parley.read_markers r on r.chat_id = m.chat_id and r.user_id = m.user_id
    where m.chat_id = (select session.selected_chat()) and m.user_id = any (members_json.users);
end $$;
