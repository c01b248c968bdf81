// A user of /docs in Chromium: authorizes, tries out requests, and opens the page of events. Prints the observations as
// JSON. Its one argument is JSON: {chromium, url, prefix, token, title, picture?}. A prefix of paths is removed, as by a
// proxy.
const { chromium } = require("playwright-core")

const FLAGS = ["disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
  "disable-component-update", "disable-sync"].map((flag) => `--${flag}`)
const SECONDS = 1000

async function main({ chromium: executablePath, url, prefix, token, title, picture }) {
  const browser = await chromium.launch({ executablePath, args: FLAGS, chromiumSandbox: false })
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 1600 } })
    page.setDefaultTimeout(20 * SECONDS)
    const requests = [], errors = []
    page.on("request", (request) => requests.push(request.url()))
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && errors.push(message.text()))
    page.on("pageerror", (error) => errors.push(String(error)))
    page.on("requestfailed", (request) => errors.push(`${request.url()} failed: ${request.failure().errorText}`))
    await page.addInitScript(() => addEventListener("securitypolicyviolation",
      (violation) => console.error(`CSP: ${violation.violatedDirective} ${violation.blockedURI}`)))

    if (prefix) {
      await page.route(`${url}${prefix}/**`, async (route) => {
        const response = await route.fetch({ url: route.request().url().replace(prefix, "") })
        await route.fulfill({ response })
      })
    }

    await page.goto(`${url}${prefix}/docs`)
    await authorize(page, token)
    const created = await tryOut(page, "post", "/api/chats", JSON.stringify({ title }))
    await page.locator(".live-responses-table").scrollIntoViewIfNeeded()
    if (picture) await page.screenshot({ path: picture.replace(/(\.png)?$/, "-response.png") })
    const listed = await tryOut(page, "get", "/api/chats")
    if (picture) await page.screenshot({ path: picture })
    const servers = await page.locator(".servers select option").allInnerTexts()
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]))

    await page.getByRole("link", { name: "Real-time events" }).click()
    const events = await page.locator("article").innerText()
    await page.setViewportSize({ width: 320, height: 640 })
    const width = await page.evaluate(() => document.documentElement.scrollWidth)
    await page.setViewportSize({ width: 1280, height: 1600 })
    if (picture) await page.screenshot({ path: picture.replace(/(\.png)?$/, "-events.png"), fullPage: true })
    await page.getByRole("link", { name: "API", exact: true }).click()
    await page.locator(".opblock").first().waitFor()
    return { created, listed, servers, kept, events, width, requests, errors }
  } finally {
    await browser.close()
  }
}

async function authorize(page, token) {
  await page.getByRole("button", { name: "Authorize", exact: true }).click()
  const dialog = page.locator(".auth-container").filter({ hasText: "bearer" })
  await dialog.locator("input").fill(token)
  await dialog.getByRole("button", { name: "Apply credentials" }).click()
  await dialog.getByRole("button", { name: "Close" }).click()
}

// The status and the body of the response, as the page shows them.
async function tryOut(page, method, path, body) {
  const operation = page.locator(`.opblock-${method}`).filter({ has: page.locator(`[data-path="${path}"]`) })
  await operation.locator(".opblock-summary-control").click()
  await operation.getByRole("button", { name: "Try it out" }).click()
  if (body) await operation.locator("textarea").fill(body)
  await operation.getByRole("button", { name: "Execute" }).click()
  const response = operation.locator(".live-responses-table tbody tr.response")
  const status = await response.locator(".response-col_status").innerText()
  return { status: status.trim().split(/\s/)[0], body: await response.locator("code").first().innerText() }
}

main(JSON.parse(process.argv[2])).then((result) => console.log(JSON.stringify(result)))
