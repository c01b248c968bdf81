// Lists, searches and sends messages with Fastify and pg, in hand-written SQL: one prepared statement a request.
//
// Responses are serialized by Fastify's schemas; verified tokens are cached. Like fastapi_sqlalchemy.py, the server omits
// what the same responses do not require: row-level security, counting the messages of a chat, a search index of its own,
// and tokens other than signed ones. A row that it inserts fires the same triggers as Parley's: counters of the chat,
// search vector, and event in the outbox.
//
// Settings are PORT, DATABASE_URL, DATABASE_POOL_SIZE, REDIS_URL, NEXTAUTH_SECRET and RATE_LIMIT_REQUESTS, as those of
// Parley.

import rateLimit from '@fastify/rate-limit'
import { createVerifier } from 'fast-jwt'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import pg from 'pg'

const { PORT, DATABASE_URL, DATABASE_POOL_SIZE, REDIS_URL, NEXTAUTH_SECRET, RATE_LIMIT_REQUESTS } = process.env

const PAGE = {
  name: 'page',
  text: `
    select c.message_count::integer as total, m.*
    from parley.members b
    join parley.chats c on c.id = b.chat_id
    left join lateral (
      select m.id, m.content, m.type, m.user_id, m.created_at, m.updated_at
      from parley.messages m where m.chat_id = b.chat_id
      order by m.id desc limit $3 offset $4) m on true
    where b.chat_id = $1 and b.user_id = $2
    order by m.id desc`
}
const SEARCH = {
  name: 'search',
  text: `
    with hits as materialized (
      select w.id from parley.message_words w where w.chat_id = $1 and w.tsv @@ to_tsquery('simple', $5)
    )
    select (select count(*)::integer from hits) as total, m.*
    from parley.members b
    left join lateral (
      select m.id, m.content, m.type, m.user_id, m.created_at, m.updated_at
      from (select h.id from hits h order by h.id desc limit $3 offset $4) h
      join parley.messages m on m.chat_id = b.chat_id and m.id = h.id) m on true
    where b.chat_id = $1 and b.user_id = $2
    order by m.id desc`
}
const SEND = {
  name: 'send',
  text: `
    insert into parley.messages (chat_id, user_id, content, type)
    select b.chat_id, b.user_id, $3, $4 from parley.members b where b.chat_id = $1 and b.user_id = $2
    returning id, content, type, user_id, created_at`
}

const text = { type: 'string' }
const instant = { type: 'string', format: 'date-time' }
const number = { type: 'integer' }
const sent = { id: text, content: text, type: text, userId: text, createdAt: instant }
const params = { type: 'object', properties: { chatId: { type: 'string', format: 'uuid' } } }
const listing = {
  params,
  querystring: {
    type: 'object',
    properties: {
      page: { type: 'integer', minimum: 1, default: 1 },
      limit: { type: 'integer', minimum: 1, maximum: 100, default: 50 },
      search: { type: 'string', maxLength: 1000 }
    }
  },
  response: {
    200: {
      type: 'object',
      properties: {
        messages: { type: 'array', items: { type: 'object', properties: { ...sent, updatedAt: instant } } },
        total: number,
        page: number,
        limit: number
      }
    }
  }
}
const sending = {
  params,
  body: {
    type: 'object',
    required: ['content'],
    additionalProperties: false,
    properties: {
      content: { type: 'string', minLength: 1, maxLength: 32768, pattern: '\\S' },
      type: { enum: ['text', 'code', 'image'], default: 'text' }
    }
  },
  response: { 201: { type: 'object', properties: sent } }
}

const pool = new pg.Pool({ connectionString: DATABASE_URL, max: Number(DATABASE_POOL_SIZE), min: 1, idleTimeoutMillis: 0 })
const verify = createVerifier({ key: NEXTAUTH_SECRET, algorithms: ['HS256'], clockTolerance: 30000, cache: 10000 })
const app = Fastify({ trustProxy: 1 })

await app.register(rateLimit, {
  max: Number(RATE_LIMIT_REQUESTS),
  timeWindow: 10000,
  redis: new Redis(REDIS_URL),
  nameSpace: 'fastify:'
})

app.decorateRequest('user', null)
app.addHook('preHandler', async (request, reply) => {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ')
  try {
    request.user = scheme === 'Bearer' && verify(token).sub
  } catch {}
  if (!request.user) return reply.code(401).send({ error: { message: 'Authentication required.', code: 'unauthorized' } })
})

function message(row) {
  return {
    id: row.id,
    content: row.content,
    type: row.type,
    userId: row.user_id,
    createdAt: row.created_at,
    updatedAt: row.updated_at
  }
}

function notFound(reply) {
  return reply.code(404).send({ error: { message: 'Chat not found.', code: 'not_found' } })
}

app.get('/api/chats/:chatId/messages', { schema: listing }, async (request, reply) => {
  const { page, limit, search } = request.query
  const values = [request.params.chatId, request.user, limit, (page - 1) * limit]
  const { rows } = await pool.query(search ? { ...SEARCH, values: [...values, `${search}:*`] } : { ...PAGE, values })
  if (!rows.length) return notFound(reply)
  return { messages: rows[0].id ? rows.map(message) : [], total: rows[0].total, page, limit }
})

app.post('/api/chats/:chatId/messages', { schema: sending }, async (request, reply) => {
  const { content, type } = request.body
  const { rows } = await pool.query({ ...SEND, values: [request.params.chatId, request.user, content, type] })
  return rows.length ? reply.code(201).send(message(rows[0])) : notFound(reply)
})

await app.listen({ port: Number(PORT), host: '127.0.0.1' })
