"""Lists, searches and sends messages with FastAPI and SQLAlchemy's ORM, in the style of their documentation.

The rate limit, the user, the session and the chat are dependencies; responses are pydantic models. There is one query
for the chat of a member, one for the messages, and one for the total of a search. The server omits what the same
responses do not require: row-level security (its role bypasses it), counting the messages of a chat (triggers maintain
the column), a search index of its own (it reads the one of Parley), and tokens other than signed ones. A row that it
inserts fires the same triggers as Parley's: counters of the chat, search vector, and event in the outbox.

Settings are DATABASE_URL, DATABASE_POOL_SIZE, REDIS_URL, NEXTAUTH_SECRET and RATE_LIMIT_REQUESTS, as those of Parley.
"""

import os
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from redis.asyncio import Redis
from sqlalchemy import FetchedValue, ForeignKey, ForeignKeyConstraint, MetaData, Select, func, select
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from api.ratelimit.limiter import SCRIPT

LIMIT, WINDOW_MS = int(os.environ["RATE_LIMIT_REQUESTS"]), 10_000
SECRET = os.environ["NEXTAUTH_SECRET"]

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:"),
    pool_size=int(os.environ["DATABASE_POOL_SIZE"]),
    max_overflow=0,
)
new_session = async_sessionmaker(engine, expire_on_commit=False)
redis = Redis.from_url(os.environ["REDIS_URL"])
script = redis.register_script(SCRIPT)


class Base(DeclarativeBase):
    metadata = MetaData(schema="parley")


class Chat(Base):
    __tablename__ = "chats"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    message_count: Mapped[int]
    members: Mapped[list["Member"]] = relationship()


class Member(Base):
    __tablename__ = "members"

    chat_id: Mapped[UUID] = mapped_column(ForeignKey(Chat.id), primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)


class Message(Base):
    __tablename__ = "messages"

    chat_id: Mapped[UUID] = mapped_column(ForeignKey(Chat.id), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=FetchedValue())
    user_id: Mapped[str]
    type: Mapped[str]
    content: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    updated_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    words: Mapped["MessageWords"] = relationship()


class MessageWords(Base):
    __tablename__ = "message_words"
    __table_args__ = (ForeignKeyConstraint(["chat_id", "id"], [Message.chat_id, Message.id]),)

    chat_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    tsv: Mapped[str] = mapped_column(TSVECTOR)


class ResponseModel(BaseModel):
    model_config = ConfigDict(from_attributes=True, alias_generator=to_camel, populate_by_name=True)


class SentMessage(ResponseModel):
    id: UUID
    content: str
    type: str
    user_id: str
    created_at: datetime


class ListedMessage(SentMessage):
    updated_at: datetime


class Page(ResponseModel):
    messages: list[ListedMessage]
    total: int
    page: int
    limit: int


class NewMessage(BaseModel):
    content: str = Field(min_length=1, max_length=32_768, pattern=r"\S")
    type: Literal["text", "code", "image"] = "text"


async def limit_requests(request: Request, response: Response) -> None:
    """Count the request in Redis, as Parley does."""
    address = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    window, into_window = divmod(time.time_ns() // 1_000_000, WINDOW_MS)
    elapsed = into_window / WINDOW_MS
    keys = [f"fastapi:{address}:{window}", f"fastapi:{address}:{window - 1}"]
    allowed, current, previous = await script(keys, [LIMIT, WINDOW_MS, elapsed])
    if not allowed:
        raise HTTPException(429)
    response.headers["X-RateLimit-Limit"] = str(LIMIT)
    response.headers["X-RateLimit-Remaining"] = str(max(0, LIMIT - current - int((1 - elapsed) * previous)))
    response.headers["X-RateLimit-Reset"] = str((window + 1) * WINDOW_MS)


async def current_user(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    """Return the user of a signed token."""
    try:
        claims = jwt.decode(credentials.credentials, SECRET, ["HS256"], leeway=30)
    except jwt.PyJWTError:
        raise HTTPException(401) from None
    user: str = claims["sub"]
    return user


async def open_session() -> AsyncIterator[AsyncSession]:
    """Open a session of the ORM for the request."""
    async with new_session() as session:
        yield session


User = Annotated[str, Depends(current_user)]
Session = Annotated[AsyncSession, Depends(open_session)]


async def select_chat(chat_id: UUID, user: User, session: Session) -> Chat:
    """Return the chat of the path, if the user is a member."""
    query = select(Chat).join(Chat.members).where(Chat.id == chat_id, Member.user_id == user)
    chat = await session.scalar(query)
    if chat is None:
        raise HTTPException(404)
    return chat


SelectedChat = Annotated[Chat, Depends(select_chat)]
app = FastAPI(dependencies=[Depends(limit_requests)])


@app.get("/api/chats/{chat_id}/messages", response_model=Page)
async def list_messages(
    chat: SelectedChat,
    session: Session,
    page: Annotated[int, Query(ge=1)] = 1,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    search: Annotated[str | None, Query(max_length=1000)] = None,
) -> dict[str, Any]:
    query: Select[Message] = select(Message).where(Message.chat_id == chat.id)
    total = chat.message_count
    if search:
        found = MessageWords.tsv.bool_op("@@")(func.to_tsquery("simple", f"{search}:*"))
        query = query.join(Message.words).where(MessageWords.chat_id == chat.id, found)
        counted = select(func.count()).select_from(MessageWords).where(MessageWords.chat_id == chat.id, found)
        total = await session.scalar(counted) or 0
    query = query.order_by(Message.id.desc()).limit(limit).offset((page - 1) * limit)
    messages: Sequence[Message] = (await session.scalars(query)).all()
    return {"messages": messages, "total": total, "page": page, "limit": limit}


@app.post("/api/chats/{chat_id}/messages", response_model=SentMessage, status_code=201)
async def send_message(chat: SelectedChat, user: User, session: Session, body: NewMessage) -> Message:
    message = Message(chat_id=chat.id, user_id=user, content=body.content, type=body.type)
    session.add(message)
    await session.commit()
    return message
