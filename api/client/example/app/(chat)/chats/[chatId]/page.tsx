import { ChatView } from "@/components/chat-view"

interface Props {
  params: Promise<{ chatId: string }>
  searchParams: Promise<{ message?: string }>
}

export default async function ChatPage({ params, searchParams }: Props) {
  return <ChatView chatId={(await params).chatId} messageId={(await searchParams).message} />
}
