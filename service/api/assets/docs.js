// Relative addresses, so that the page also works below a prefix of a proxy. Without a validator no other host is asked.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
