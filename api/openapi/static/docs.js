// Shows the API's document. What is tried out goes to where this page came from: by whatever name, behind whatever path.
const api = document.getElementById("api")
const answer = await fetch("openapi.json")
if (answer.ok) {
  const place = new URL(".", location.href).href.replace(/\/$/, "")
  SwaggerUIBundle({
    domNode: api,
    spec: { ...(await answer.json()), servers: [{ url: place }] },
    validatorUrl: null,  // which would be a host of others
    persistAuthorization: false,  // a token must not stay in the browser
    deepLinking: true,
    displayRequestDuration: true,
  })
} else {
  api.textContent = `GET openapi.json was answered with ${answer.status}.`
}
