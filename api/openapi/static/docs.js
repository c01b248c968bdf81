// Shows the API's document in Swagger UI. "Try it out" sends requests to the page's own origin and path prefix, whatever
// PUBLIC_URL is.
const api = document.getElementById("api")
const response = await fetch("openapi.json")
if (response.ok) {
  const baseUrl = new URL(".", location.href).href.replace(/\/$/, "")
  SwaggerUIBundle({
    domNode: api,
    spec: { ...(await response.json()), servers: [{ url: baseUrl }] },
    validatorUrl: null,  // The default is a validator on another host.
    persistAuthorization: false,  // Tokens must not be stored in the browser.
    deepLinking: true,
    displayRequestDuration: true,
  })
} else {
  api.textContent = `GET openapi.json returned ${response.status}.`
}
