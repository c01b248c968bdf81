import { Search } from "@/components/search"

interface Props {
  searchParams: Promise<{ q?: string; chat?: string }>
}

export default async function SearchPage({ searchParams }: Props) {
  const { q = "", chat } = await searchParams
  return <Search query={q} chatId={chat || undefined} />
}
